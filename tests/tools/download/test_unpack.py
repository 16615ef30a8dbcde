"""Archives that nobody vouches for."""

import gzip
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from tools.download import bounded
from tools.download.unpack import unpack
from train.errors import UserError


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


class Info(zipfile.ZipInfo):
    """A name in the bytes of a code page, without the flag for UTF-8, as Windows writes it."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def make_raw_zip(path: Path, names: list[bytes], extra: bytes = b"", flagged: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        if flagged:
            archive.writestr(flagged, b"x")
        for number, raw in enumerate(names):
            info = Info(f"{number}")
            info.raw, info.extra = raw, extra
            archive.writestr(info, b"x")
    return path


def make_raw_tar(path: Path, names: list[bytes]) -> Path:
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
        for raw in names:
            info = tarfile.TarInfo(raw.decode("utf-8", "surrogateescape"))
            info.size = 1
            archive.addfile(info, io.BytesIO(b"x"))
    return path


# "联通" alone is, in GBK, a sequence of bytes that is UTF-8 too.
GBK = ["机场/1.jpg", "联通/2.jpg", "plain/3.jpg"]


@pytest.mark.parametrize(
    ("encoding", "names", "told"),
    [
        ("utf-8", ["Río/1.jpg", "机场/2.jpg"], None),
        ("gbk", GBK, "GBK"),
        ("cp437", ["Río/1.jpg", "Forêt/2.jpg"], "code page 437"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_names_that_do_not_say_their_encoding(
    kind: str, encoding: str, names: list[str], told: str | None, into: Path, tmp_path: Path
) -> None:
    raw = [name.encode(encoding) for name in names]
    make = make_raw_zip if kind == "zip" else make_raw_tar
    assert unpack(make(tmp_path / f"a.{kind}", raw), into, None, None) == told
    assert found(into) == sorted(names)


def test_names_that_say_that_they_are_utf8(into: Path, tmp_path: Path) -> None:
    path = make_raw_zip(tmp_path / "a.zip", ["海滩".encode("gbk")], flagged="Río")
    assert unpack(path, into, None, None) == "GBK"
    assert found(into) == ["Río", "海滩"]


def test_names_that_say_it_in_a_field_of_their_own(into: Path, tmp_path: Path) -> None:
    raw, name = b"R\xa1o", "Rio í".encode()
    field = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(raw)) + name
    assert unpack(make_raw_zip(tmp_path / "a.zip", [raw], field), into, None, None) is None
    assert found(into) == ["Rio í"]


def test_a_flag_that_is_wrong(into: Path, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"é": b"x"})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with pytest.raises(UserError, match="cannot be unpacked: 'utf-8'"):
        unpack(path, into, None, None)


def found(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_root_becomes_the_folder(kind: str, into: Path, tmp_path: Path) -> None:
    files = {"repo-1a2b/set/x/1.png": b"1", "repo-1a2b/set/y/2.png": b"2", "repo-1a2b/README": b""}
    files |= {"__MACOSX/set/x/._1.png": b"", "repo-1a2b/set/x/.DS_Store": b""}
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        make_zip(path, files)
    else:
        make_tar(path, [(tarfile.TarInfo(name), data) for name, data in files.items()])
    unpack(path, into, "repo-*/set", None)
    assert found(into) == ["x/1.png", "y/2.png"]


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "C:\\out.png"])
def test_names_that_lead_outside(name: str, into: Path, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {name: b"x"})
    with pytest.raises(UserError, match="leads outside"):
        unpack(path, into, None, None)
    path = make_tar(tmp_path / "a.tgz", [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(UserError, match="leads outside"):
        unpack(path, into, None, None)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tgz", "a.zip", "into"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_the_like(kind: bytes, into: Path, tmp_path: Path) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(UserError, match="no plain file"):
        unpack(make_tar(tmp_path / "a.tgz", [(info, b"")]), into, None, None)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="no plain file"):
        unpack(tmp_path / "a.zip", into, None, None)
    assert found(into) == []


def test_bombs(into: Path, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": bytes(40_000_000), "b": bytes(40_000_000)})
    with pytest.raises(UserError, match="too large: more than 67 MB"):
        unpack(path, into, None, None)
    assert found(into) == ["a"]
    path = make_zip(tmp_path / "b.zip", {"c": bytes(1001)})
    with pytest.raises(UserError, match="too large"):
        unpack(path, into, None, 1000)


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.USTAR_FORMAT)


def pax(keyword: str, value: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header of one field."""
    size = next(n for n in range(10**6) if len(f"{n} {keyword}={value}\n") == n)
    record = f"{size} {keyword}={value}\n".encode()
    return header("h", len(record), kind) + record + bytes(-len(record) % 512)


END = bytes(1024)
TOO_LARGE = "it has headers that are too large"
# Each took gigabytes, for ever, or ended in a traceback.
HOSTILE_TARS = {
    "extended header": (header("h", 2**30, tarfile.XHDTYPE) + bytes(10**6), TOO_LARGE),
    "long name": (header("h", 2**30, tarfile.GNUTYPE_LONGNAME) + b"a" * 10**6, TOO_LARGE),
    "global headers": (
        b"".join(pax(f"k{n}", "v" * 10**5, tarfile.XGLTYPE) + header(f"{n}") for n in range(9)),
        TOO_LARGE,
    ),
    "header of a header": (pax("k", "v", tarfile.XGLTYPE) * 3000, "recursion|too large"),
    # It leads back to its own header.
    "size below zero": (
        header("z", 512) + bytes(512) + pax("size", "-1536") + header("a"),
        "a size that cannot be",
    ),
    "size of many digits": (pax("size", "9" * 100) + header("a"), "it has more than"),
    "sparse": (
        header("a", 0, tarfile.GNUTYPE_SPARSE),
        "no plain file",
    ),
    "device": (header("dev", 0, tarfile.CHRTYPE), "no plain file"),
    "deep": (pax("path", "a/" * 1900 + "x") + header("a"), "a name of 1901 parts"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_tars(case: str, packed: bool, into: Path, tmp_path: Path) -> None:
    content, message = HOSTILE_TARS[case]
    path = tmp_path / "a.tar"
    path.write_bytes(gzip.compress(content + END) if packed else content + END)
    with pytest.raises(UserError, match=message) as caught:
        unpack(path, into, None, None)
    assert "\n" not in str(caught.value)


def test_a_header_that_expands_takes_no_memory(into: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header("h", 50 * 10**6, tarfile.XHDTYPE))
        for _ in range(50):
            file.write(bytes(10**6))
        file.write(header("a") + END)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=TOO_LARGE):
            unpack(path, into, None, None)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_what_is_skipped_has_an_end(
    into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file outside of the wanted folder, which would be unpacked to reach the next one."""
    monkeypatch.setattr(bounded, "_SKIPPED_BYTES", 0)
    monkeypatch.setattr("tools.download.unpack._LEAST_BYTES", 10**6)
    members = [(tarfile.TarInfo("other/a"), bytes(2 * 10**6)), (tarfile.TarInfo("set/b"), b"b")]
    path = make_tar(tmp_path / "a.tgz", members)
    with pytest.raises(UserError, match="more than 1 MB"):
        unpack(path, into, "set", None)
    monkeypatch.setattr(bounded, "_SKIPPED_BYTES", 10**7)
    unpack(path, into, "set", None)
    assert found(into) == ["b"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_many_files_without_content(
    kind: str, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MOST_FILES", 20)
    names = [f"{n}" for n in range(21)]
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        make_zip(path, dict.fromkeys(names, b""))
    else:
        make_tar(path, [(tarfile.TarInfo(name), b"") for name in names])
    with pytest.raises(UserError, match="it has more than 20 files"):
        unpack(path, into, None, None)
    monkeypatch.setattr(bounded, "MOST_FILES", 21)
    monkeypatch.setattr("tools.download.unpack._MOST_NAMES_BYTES", 30)
    with pytest.raises(UserError, match="it has names that are too long"):
        unpack(path, into, None, None)


def test_the_list_of_a_zip_is_bounded(
    into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{n}" * 50: b"" for n in range(10)})
    monkeypatch.setattr(bounded, "_MOST_LIST_BYTES", 900)
    with pytest.raises(UserError, match=TOO_LARGE):
        unpack(path, into, None, None)
    monkeypatch.setattr(bounded, "_MOST_LIST_BYTES", 9000)
    monkeypatch.setattr(bounded, "MOST_FILES", 8)
    content = path.read_bytes()
    last = content.rindex(b"PK\x01\x02")  # no list to be read, but it is not read
    path.write_bytes(content[:last] + b"XX" + content[last + 2 :])
    with pytest.raises(UserError, match="it has more than 8 files"):
        unpack(path, into, None, None)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_that_zipfile_unpacks_at_once(
    method: int, into: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(1000))
    with pytest.raises(UserError, match=f"'a' is packed by method {method}: unpack it yourself"):
        unpack(path, into, None, None)


def test_size_that_is_a_lie(into: Path, tmp_path: Path) -> None:
    """The central directory says 1000 bytes, the data unpack to a million."""
    path = make_zip(tmp_path / "a.zip", {"a": bytes(1_000_000)})
    size = (1_000_000).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(size, (1000).to_bytes(4, "little")))
    with pytest.raises(UserError):
        unpack(path, into, None, None)
    assert all((into / name).stat().st_size <= 1000 for name in found(into))


def test_damaged_and_foreign_files(into: Path, tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a": bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(path, into, None, None)
    tar = make_tar(tmp_path / "b.tgz", [(tarfile.TarInfo("b"), bytes(100_000))])
    tar.write_bytes(tar.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tar, into, None, None)
    (tmp_path / "c.zip").write_bytes(b"<html>")
    with pytest.raises(UserError, match="not a zip, tar or rar archive"):
        unpack(tmp_path / "c.zip", into, None, None)
    twice = tmp_path / "d.zip"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("d", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("d", "2")
    with pytest.raises(UserError, match="in it twice"):
        unpack(twice, into, None, None)
    with pytest.raises(UserError, match="nothing in it under other"):
        unpack(make_zip(tmp_path / "e.zip", {"e": b""}), tmp_empty(tmp_path), "other", None)


def tmp_empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_rar(into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for unrar: no program that makes or unpacks rar is at hand."""
    path = tmp_path / "a.rar"
    path.write_bytes(b"Rar!\x1a\x07\x00...")
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(UserError, match="none of unrar, unar, bsdtar is installed"):
        unpack(path, into, "set", None)
    program = programs / "unrar"
    program.write_text('#!/bin/sh\n[ "$1" = x ] && /bin/mkdir -p set/x && echo 1 > set/x/1.png\n')
    program.chmod(0o755)
    unpack(path, into, "set", None)
    assert found(into) == ["x/1.png"]
    program.write_text("#!/bin/sh\necho broken header >&2\nexit 3\n")
    with pytest.raises(UserError, match="unrar failed: broken header"):
        unpack(path, into, "set", None)
    program.write_text("#!/bin/sh\n/bin/head -c 2000 /dev/zero > big; exec /bin/sleep 99\n")
    with pytest.raises(UserError, match="too large: more than 0 MB"):
        unpack(path, into, "set", 1000)
    program.write_text("#!/bin/sh\n/bin/mkdir set && /bin/ln -s /etc/passwd set/x\n")
    with pytest.raises(UserError, match="no plain file"):
        unpack(path, into, "set", None)
