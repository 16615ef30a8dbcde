"""What is found at paths, in folders, lists and object storage; which of it is a scene."""

import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tests.object_store import ObjectStore
from tools.predict import inputs as inputs_module
from tools.predict.inputs import Inputs
from tools.predict.kinds import Kinds
from train.errors import UserError

PICTURES = Kinds(False, 10**6, 16)


def saved(
    path: Path, size: tuple[int, int] = (4, 4), tags: Mapping[int, object] | None = None
) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = ImageFileDirectory_v2()
    for tag, value in (tags or {}).items():
        directory[tag] = value
        directory.tagtype[tag] = 12
    options: Any = {"tiffinfo": directory} if tags else {}
    Image.new("RGB", size, (9, 9, 9)).save(path, **options)
    return str(path)


def files(inputs: Inputs) -> list[tuple[str, str]]:
    return [(source.file, source.stem) for source in inputs.pictures(0, 99)]


def test_order_names_and_what_is_there_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/2.png", "b/10.png", "b/a/1.jpg", "a/2.png", "a/2.jpg", "b/notes.txt"):
        saved(Path(name)) if "." in name and "txt" not in name else Path(name).write_text("x")
    saved(Path("b/.hidden.png"))
    Path("list").write_text("b/2.png\r\n\n  a/2.png\n./a/2.png\na\n", encoding="utf-8-sig")
    with Inputs(PICTURES.is_scene) as inputs:
        inputs.add(["b/a/1.jpg", "b/"])
        inputs.add_list(Path("list"))
        assert files(inputs) == [
            ("b/a/1.jpg", "1"),
            ("b/10.png", "10"),
            ("b/2.png", "2"),
            ("a/2.png", "2.png"),
            ("a/2.jpg", "2.jpg"),
        ]
        assert inputs.count(scenes=False) == 5 and inputs.count(scenes=True) == 0
        assert [s.file for s in inputs.pictures(1, 2)] == ["b/10.png", "b/2.png"]
        assert inputs.pictures(0, 1)[0].read() == Path("b/a/1.jpg").read_bytes()
        digest = inputs.digest()
    saved(Path("b/2.png"), (5, 5))
    with Inputs(PICTURES.is_scene) as inputs:
        inputs.add(["b/a/1.jpg", "b"])
        inputs.add_list(Path("list"))
        assert inputs.digest() != digest


def test_the_same_name_in_many_folders(tmp_path: Path) -> None:
    places = [saved(tmp_path / folder / "x.png") for folder in "abc"]
    with Inputs(PICTURES.is_scene) as inputs:
        inputs.add(places)
        stems = [stem for _, stem in files(inputs)]
    assert stems[:2] == ["x", "x.png"] and stems[2].endswith("/c/x.png")
    assert not stems[2].startswith("/")


def test_mistakes_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.pdf").write_text("")
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "blank").write_text("\n\n")

    def refused(place: str, *parts: str) -> None:
        with Inputs(PICTURES.is_scene) as inputs, pytest.raises(UserError) as caught:
            if place.startswith("--list "):
                inputs.add_list(tmp_path / place.removeprefix("--list "))
            else:
                inputs.add([place if ":/" in place else str(tmp_path / place)])
        assert all(part in str(caught.value) for part in parts), caught.value

    refused("empty", "empty: no pictures in this folder (.jpg, .jpeg")
    refused("other", "what is there: 1 pdf")
    refused("none.png", "none.png: no such file or folder")
    refused("s3:/bucket/x", "an address of object storage is written")
    refused("--list none", "none: cannot be read: No such file")
    refused("--list list", "list: is no text in UTF-8")
    refused("--list blank", "blank: names nothing")


def test_addresses(
    object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in object_store.variables.items():
        monkeypatch.setenv(name, value)
    content = Path(saved(tmp_path / "x.png")).read_bytes()
    for key in ("photos/b/1.png", "photos/a.png", "photos/notes.txt", "other/x.txt"):
        object_store.put(key, content)
    with Inputs(PICTURES.is_scene) as inputs:
        inputs.add([object_store.url("photos"), object_store.url("photos/b/1.png")])
        url = object_store.url
        assert files(inputs) == [(url("photos/a.png"), "a"), (url("photos/b/1.png"), "b/1")]
        assert [source.read() for source in inputs.pictures(0, 9)] == [content] * 2
    with Inputs(PICTURES.is_scene) as inputs:
        inputs.add([object_store.url("photos/b/1.png")])
        [source] = inputs.pictures(0, 9)
        assert (source.file, source.stem) == (object_store.url("photos/b/1.png"), "1")
        assert source.read() == content
        with source.fetched(tmp_path) as path:
            assert path.read_bytes() == content and path.parent == tmp_path
        assert not path.exists()
    with Inputs(PICTURES.is_scene) as inputs:
        with pytest.raises(UserError, match=r"other: no pictures .* \(1 other files\)"):
            inputs.add([object_store.url("other")])
        with pytest.raises(UserError, match="nothing is there"):
            inputs.add([object_store.url("nowhere")])


def test_no_name_leads_out_of_the_output_folder() -> None:
    """Keys in object storage may hold anything."""
    with Inputs(PICTURES.is_scene) as inputs:
        inputs._take("s3://bucket/x", [("../../etc/a.png", ""), ("/b//./c.png", "")])
        assert [stem for _, stem in files(inputs)] == ["etc/a", "b/c"]


def test_scenes_are_large_and_georeferenced_or_very_large(tmp_path: Path) -> None:
    """Beside the rule, --scenes and --as-pictures decide."""
    georeferenced = {33550: (10.0, 10.0, 0.0), 33922: (0.0, 0.0, 0.0, 5e5, 4e6, 0.0)}
    tile = saved(tmp_path / "tile.tif", (32, 32), georeferenced)
    scene = saved(tmp_path / "scene.TIF", (33, 40), georeferenced)
    photo = saved(tmp_path / "photo.tif", (33, 40))
    large = saved(tmp_path / "large.tif", (50, 50))
    picture = saved(tmp_path / "large.png", (50, 50))
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0\xff\xff\xff\xffnothing")
    vrt = tmp_path / "mosaic.vrt"
    vrt.write_text("<VRTDataset/>")

    def scenes(forced: bool | None, max_pixels: int = 2000) -> list[str]:
        with Inputs(Kinds(forced, max_pixels, 16).is_scene) as inputs:
            inputs.add([tile, scene, photo, large, picture, str(broken), str(vrt)])
            assert inputs.count(scenes=True) + inputs.count(scenes=False) == 7
            return [Path(source.file).name for source in inputs.scenes()]

    assert scenes(None) == ["scene.TIF", "large.tif"]
    assert scenes(None, max_pixels=10**6) == ["scene.TIF"]
    assert scenes(False) == []
    tiffs = ["tile.tif", "scene.TIF", "photo.tif", "large.tif", "broken.tif"]
    assert scenes(True) == [*tiffs, "mosaic.vrt"]


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    """The list is on the disk: when the last of many is added, Python holds a few of them only."""
    count, seen, held = 20_000, 0, 0

    def is_scene(name: str, path: Path | None) -> bool:
        nonlocal seen, held
        seen += 1
        if seen == count:
            # Of these files alone: Python's own table of the names in paths grows now and then.
            files = [tracemalloc.Filter(True, file) for file in (inputs_module.__file__, __file__)]
            snapshot = tracemalloc.take_snapshot().filter_traces(files)
            held = sum(trace.size for trace in snapshot.traces)
        return False

    tracemalloc.start()
    try:
        with Inputs(is_scene) as inputs:
            inputs._take("x", ((f"folder/{np.base_repr(i, 36)}", "1 2") for i in range(count)))
            assert len(inputs.pictures(count - 10, 64)) == 10
    finally:
        tracemalloc.stop()
    assert 0 < held < 4 * count
