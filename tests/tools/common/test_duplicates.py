"""Pictures that look the same are found, others are not."""

import csv
import io
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.tools.commands import Tools
from tests.tools.data_sets import encoded, entries, rows_of, write_csv
from tools.common.duplicates import close_hashes
from tools.common.duplicates.fingerprint import MAX_DISTANCE, alike, fingerprint
from train.data.manifest import Manifest


def scene(seed: int, side: int = 96) -> Image.Image:
    """A picture with structure of all sizes, as photographs have."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3))
    for cells in (3, 6, 12, 24):
        small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        pixels += np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), float) / cells
    pixels -= pixels.min()
    return Image.fromarray((pixels / pixels.max() * 255).astype(np.uint8))


def water(seed: int) -> Image.Image:
    """Nearly one colour, a little noise."""
    noise = np.random.default_rng(seed).normal(0, 2, (96, 96, 1))
    return Image.fromarray((np.array([40, 70, 90]) + noise).clip(0, 255).astype(np.uint8))


def bits(one: int, other: int) -> int:
    return bin((one ^ other) & (2**64 - 1)).count("1")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=50))),
    "small": lambda image: image.resize((50, 50), Image.Resampling.LANCZOS),
    "large": lambda image: image.resize((170, 170), Image.Resampling.BICUBIC),
    "squeezed": lambda image: image.resize((96, 60), Image.Resampling.BOX),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_look_the_same(kind: str) -> None:
    for seed in range(8):
        image = scene(seed)
        one, other = fingerprint(image), fingerprint(COPIES[kind](image))
        assert one.hash is not None and other.hash is not None
        assert bits(one.hash, other.hash) <= MAX_DISTANCE and alike(one.thumb, other.thumb)


def test_others_do_not() -> None:
    prints = [fingerprint(scene(seed)) for seed in range(60)]
    for i, one in enumerate(prints):
        for other in prints[:i]:
            assert one.hash is not None and other.hash is not None
            assert bits(one.hash, other.hash) > MAX_DISTANCE
            assert not alike(one.thumb, other.thumb)
    # Of other brightness or other contrast: the hash alone would take it for the same.
    dark = Image.eval(scene(0), lambda value: value // 3)
    one, other = prints[0], fingerprint(dark)
    assert one.hash is not None and other.hash is not None
    assert bits(one.hash, other.hash) <= MAX_DISTANCE and not alike(one.thumb, other.thumb)
    # Faint structures on the same grey: near to each other in every pixel, and nothing in common.
    grey = np.random.default_rng(0).normal(128, 3, (3, 16, 16, 1)).repeat(3, -1)
    faint = [pixels.astype(np.uint8).tobytes() for pixels in grey]
    assert alike(faint[0], faint[0]) and not alike(faint[0], faint[1])


@pytest.mark.parametrize(
    ("cell", "value", "thumb"),
    [
        ((8, 12), 5648306289739428394, "3e58fac0244e2923"),
        ((9, 7), 5648306289739428394, "3e58fac0244e2923"),
        ((50, 31), 5648306289743557162, "eaec0d63ceac811a"),
    ],
)
def test_what_a_picture_looks_like_is_fixed_for_good(
    cell: tuple[int, int], value: int, thumb: str
) -> None:
    """Prepared data sets keep the hashes: a later version must find the same pictures alike."""
    cells = np.random.default_rng(5).integers(0, 256, (8, 8, 3), np.uint8)
    found = fingerprint(Image.fromarray(np.kron(cells, np.ones((*cell, 1), np.uint8))))
    assert found.hash == value
    assert sha256(found.thumb).hexdigest()[:16] == thumb and len(found.thumb) == 16 * 16 * 3


def test_pictures_of_one_colour_have_no_hash() -> None:
    assert fingerprint(water(1)).hash is None
    assert fingerprint(Image.new("RGB", (5, 5), (9, 9, 9))).hash is None


@pytest.mark.parametrize("part", [2**18, 700])
def test_close_pairs_are_those_of_all_pairs(
    part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close_hashes, "_PART", part)
    rng = random.Random(part)
    rows = [(rng.getrandbits(64) - 2**63, number * 3) for number in range(1500)]
    for number in range(300):
        value = rows[number][0]
        for bit in rng.sample(range(63), number % 9):
            value ^= 1 << bit
        rows.append((value, 10_000 + number))
    close_hashes.write(tmp_path / "h", iter(rows))
    assert (tmp_path / "h").stat().st_size == 1800 * close_hashes.ENTRY.itemsize
    values = np.array([value for value, _ in rows]).view(np.uint64)
    table = np.unpackbits(values.view(np.uint8).reshape(-1, 8), axis=1).astype(np.int32)
    distances = table @ (1 - table.T)
    distances = distances + distances.T
    expected = {
        (*sorted((rows[i][1], rows[j][1])), int(distances[i, j]))
        for i, j in np.argwhere(np.triu(distances <= 6, 1))
    }
    found = list(close_hashes.close_pairs(tmp_path / "h", 6))
    assert len(found) == len(set(found)) and set(found) == expected and len(expected) > 200
    # Beyond 6 bits a few may escape.
    far = {pair for pair in close_hashes.close_pairs(tmp_path / "h", 8) if pair[2] > 6}
    assert len(far) > 0.8 * np.count_nonzero(np.triu((distances > 6) & (distances <= 8), 1))


def test_hashes_that_are_all_the_same_stay_cheap(tmp_path: Path) -> None:
    close_hashes.write(tmp_path / "h", ((5, number) for number in range(1200)))
    # Every one is paired with its next neighbours, all in one chain.
    assert len(list(close_hashes.close_pairs(tmp_path / "h", 8))) < 1200 * 401


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Two classes of ten pictures each."""
    for number in range(20):
        folder = tmp_path / "src" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        scene(number).save(folder / f"{number:02d}.png")
    return tmp_path / "src"


def rows_by_key(folder: Path) -> dict[str, dict[str, str]]:
    return {row["key"]: row for row in rows_of(folder)}


def test_copies_across_splits_are_refused_kept_together_or_allowed(
    scenes: Path, tools: Tools, tmp_path: Path
) -> None:
    for number in range(0, 20, 2):
        COPIES["jpeg"](scene(number)).save(scenes / "b" / f"copy_{number:02d}.jpg", quality=90)
        water(number).save(scenes / "a" / f"water_{number}.png")
    out = tmp_path / "out"
    arguments = ("prepare", scenes, "--out", out, "--workers", 1)
    refused = tools(*arguments)
    refused.assert_error("look the same in different splits", "~", "out.duplicates.csv", "together")
    assert entries(tmp_path) == ["out.decoded", "out.duplicates.csv", "src"]
    with (tmp_path / "out.duplicates.csv").open() as file:
        pairs = {(row["key"], row["other_key"]) for row in csv.DictReader(file)}
    # All of them and nothing else: no two pictures of water.
    assert pairs == {(f"a/{n:02d}.png", f"b/copy_{n:02d}.jpg") for n in range(0, 20, 2)}

    assert tools(*arguments, "--duplicates", "together").code == 0
    rows = rows_by_key(out)
    assert all(rows[one]["split"] == rows[other]["split"] for one, other in pairs)
    assert rows["a/02.png"]["alike"] == "b/copy_02.jpg" and rows["b/01.png"]["alike"] == ""
    notes = Manifest.read(out).notes
    assert notes["duplicates_within_splits"] == 10 and notes["duplicates_across_splits"] == 0
    assert entries(tmp_path) == ["out", "src"]

    allowed = tools(*arguments, "--duplicates", "allow", "--overwrite")
    assert allowed.code == 0 and "look the same" in allowed.out
    assert Manifest.read(out).notes["duplicates_across_splits"] > 0


def test_together_needs_splits_of_our_own(scenes: Path, tools: Tools, tmp_path: Path) -> None:
    rows = [(f"{'ab'[n % 2]}/{n:02d}.png", "ab"[n % 2], "train") for n in range(20)]
    table = write_csv(tmp_path / "t.csv", rows)
    arguments = ("--out", tmp_path / "out", "--table", table, "--duplicates", "together")
    tools("prepare", scenes, *arguments).assert_error("--duplicates together", "t.csv", "split")


def test_other_data_sets(scenes: Path, tools: Tools, tmp_path: Path) -> None:
    """What GID-MTL5 and GID-MTL15 have in common, in small."""
    first, second = tmp_path / "first", tmp_path / "second"
    # Sizes of splits that do not divide each other: MindSpore reads a number that is too large
    # modulo the size.
    sizes = "--ratios", "0.5,0.3,0.2"
    assert tools("prepare", scenes, "--out", first, "--workers", 1, *sizes).code == 0
    other = tmp_path / "other"
    kinds = list(COPIES)
    for number in range(30):
        (other / "xy"[number % 2]).mkdir(parents=True, exist_ok=True)
        image = scene(number) if number < 12 else scene(100 + number)
        copy = COPIES[kinds[number % 4]](image)
        copy.save(other / "xy"[number % 2] / f"{number}.tif", compression="packbits")
    arguments = ("prepare", other, "--out", second, "--size", 60, "--workers", 1)
    refused = tools(*arguments, "--against", first)
    refused.assert_error("different splits", "first: a/", "second.duplicates.csv")
    made = tools(*arguments, "--against", first, "--duplicates", "together")
    assert made.code == 0, made.err
    there, here = rows_by_key(first), rows_by_key(second)
    for number in range(30):
        row = here[f"{'xy'[number % 2]}/{number}.tif"]
        twin = f"{'ab'[number % 2]}/{number:02d}.png"
        if number < 12:
            # In the split that it has there.
            assert row["alike_elsewhere"] == f"first/{there[twin]['split']}/{twin}"
            assert row["split"] == there[twin]["split"]
        else:
            assert row["alike_elsewhere"] == ""
    assert Manifest.read(second).notes["duplicates_elsewhere"] == 12
    assert tools(*arguments, "--against", first, "--duplicates", "together").code == 0

    told = tools("verify", first, second, "--workers", 1)
    assert told.code == 0
    assert "12 pair(s) of pictures that look the same in two data sets, 0 of them" in told.out
    tools(*arguments, "--against", second).assert_error("--against", "--out itself")
    tools(*arguments, "--against", scenes, "--overwrite").assert_error("not a prepared data set")


def test_pictures_that_two_splits_elsewhere_hold(
    scenes: Path, tools: Tools, tmp_path: Path
) -> None:
    rows = [(f"{'ab'[n % 2]}/{n:02d}.png", "ab"[n % 2], "train") for n in range(20)]
    copy = COPIES["jpeg"](scene(6))
    for name, split, image in (("one", "train", scene(6)), ("two", "test", copy)):
        image.save(scenes / "a" / "06.png")
        changed = [
            (key, label, split if n == 5 else "train") for n, (key, label, _) in enumerate(rows)
        ]
        table = write_csv(tmp_path / f"{name}.csv", changed)
        assert tools("prepare", scenes, "--out", tmp_path / name, "--table", table).code == 0
    arguments = ("--against", tmp_path / "one", tmp_path / "two", "--duplicates", "together")
    result = tools("prepare", scenes, "--out", tmp_path / "out", *arguments)
    result.assert_error("b/05.png", "in test and in train of other data sets")
    assert not (tmp_path / "out").exists()
    # What they have in common is no concern of pictures that they do not hold.
    for number in range(8):
        (tmp_path / "new" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        scene(200 + number).save(tmp_path / "new" / "ab"[number % 2] / f"{number}.png")
    made = tools("prepare", tmp_path / "new", "--out", tmp_path / "out", *arguments[:3])
    assert made.code == 0, made.err
    # Neither what is equal there nor what only looks the same.
    assert Manifest.read(tmp_path / "out").notes["duplicates_elsewhere"] == 0


def test_what_another_data_set_settles_is_placed_before_all_else(
    tools: Tools, tmp_path: Path
) -> None:
    """What must go to train leaves no room there for a group that could go anywhere."""
    for number in range(12):
        for folder in ("here", "there")[: 2 if number < 8 else 1]:
            (tmp_path / folder).mkdir(exist_ok=True)
            scene(number).save(tmp_path / folder / f"{number}.png")
    rows = [(f"{n}.png", "ab"[n < 2], "" if n < 8 else "large") for n in range(12)]
    table = write_csv(tmp_path / "there.csv", [(*row[:2], "train") for row in rows[:8]])
    arguments = ("prepare", tmp_path / "there", "--out", tmp_path / "first", "--table", table)
    assert tools(*arguments).code == 0
    table, out = write_csv(tmp_path / "here.csv", rows, "path,label,group"), tmp_path / "out"
    options = ("--table", table, "--against", tmp_path / "first", "--duplicates", "together")
    assert tools("prepare", tmp_path / "here", "--out", out, *options).code == 0
    splits = {row["key"]: row["split"] for row in rows_of(out)}
    assert {splits[f"{n}.png"] for n in range(8)} == {"train"}
    assert {splits[f"{n}.png"] for n in range(8, 12)} != {"train"}
