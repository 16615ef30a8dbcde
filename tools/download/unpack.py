"""Zip, tar and rar archives that nobody vouches for, unpacked."""

import contextlib
import gzip
import io
import lzma
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tools.common.console import Advance
from tools.download import bounded
from tools.download.names import Name, decoded, name_in_zip, name_of_file
from train.errors import UserError

# Pictures hardly shrink: an archive that says it unpacks to more than this is not one of pictures.
_FACTOR = 20
_LEAST_BYTES = 64 * 2**20
_RAR_MAGIC = b"Rar!\x1a\x07"
# Programs that unpack rar, with their arguments before archive and folder.
_RAR_TOOLS = {"unrar": ["x", "-idq", "-o-"], "unar": ["-q", "-D", "-o"], "bsdtar": ["-xf"]}
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    EOFError,
    # Numbers that are none, and names that are not in the encoding that they say.
    ValueError,
    # Of zipfile: a way of packing that it does not know, and a password; of tarfile: a header of a
    # header of a header.
    NotImplementedError,
    RuntimeError,
)
_MOST_NAMES_BYTES = 128 * 2**20
_DEEPEST = 64
_UNPACK_ELSEWHERE = "unpack it yourself and give the folder to: python -m tools prepare"


class Damaged(UserError):
    """The archive itself is no good."""


@dataclass(frozen=True)
class _Member:
    """What is no folder in an archive: the size as the archive states it, and how to read it."""

    name: Name
    is_plain_file: bool
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    into: Path,
    root: str | None,
    unpacked_bytes: int | None,
    advance: Advance = lambda count: None,
) -> str | None:
    """Unpack the files of an archive.

    Only plain files are written, only inside ``into``, none twice, and not more bytes than the
    archive states; what it states has to be within reason.

    Args:
        archive: A zip, tar (also compressed) or rar file.
        into: An existing, empty folder.
        root: Folder in the archive that becomes ``into``, with wildcards; what is not in it is
            left out. None: everything.
        unpacked_bytes: Most bytes that may come out; None: 20 times the archive.
        advance: Is told the number of files written since its last call.

    Returns:
        As what the names were read if they are not UTF-8.

    Raises:
        UserError: It is no such archive, it is damaged, it holds something else than files and
            folders, a name in it leads outside, or it is too large.
    """
    usual = max(_LEAST_BYTES, _FACTOR * archive.stat().st_size)
    limit = min(unpacked_bytes or usual, shutil.disk_usage(into).free)
    try:
        if zipfile.is_zipfile(archive):
            with bounded.open_zip(archive) as zipped:
                told = _write_all(archive, _zip_members(zipped), into, root, limit, advance)
        elif _is_rar(archive):
            told = _unpack_rar(archive, into, root, limit, advance)
        else:
            with bounded.open_tar(archive, max(limit, usual)) as (tar, infos):
                members = _tar_members(tar, infos)
                told = _write_all(archive, members, into, root, limit, advance)
    except bounded.Unbounded as error:
        raise Damaged(f"{archive}: not an archive of pictures: it has {error}") from None
    except _DAMAGED as error:
        raise _damaged(archive, error) from None
    except OSError as error:
        if error.errno is None:  # of bz2
            raise _damaged(archive, error) from None
        raise UserError(f"{into}: cannot be unpacked into: {error.strerror or error}") from None
    if not any(into.iterdir()):
        raise Damaged(f"{archive}: nothing in it under {root or 'its top'}")
    return told


def _too_large(archive: Path, limit: int) -> Damaged:
    return Damaged(f"{archive}: too large: more than {limit / 1e6:.0f} MB would come out of it")


def _damaged(archive: Path, error: Exception) -> Damaged:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Damaged(f"{archive}: cannot be unpacked: {reason}")


def _zip_members(zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        if not info.is_dir():
            # Of the others, zipfile unpacks a megabyte at once, whatever becomes of it.
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(
                    f"{info.filename!r} is packed by method {info.compress_type}: "
                    f"{_UNPACK_ELSEWHERE}"
                )
            plain = stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
            yield _Member(name_in_zip(info), plain, info.file_size, partial(zipped.open, info))


def _tar_members(tar: tarfile.TarFile, infos: bounded.Infos) -> Iterator[_Member]:
    for info in infos:
        if not info.isdir():
            # Without the headers of each, which may be long.
            read = partial(_part, tar, info.offset_data, info.size)
            name = name_of_file(info.name, "path" in info.pax_headers)
            yield _Member(name, info.isreg() and not info.issparse(), info.size, read)


def _part(tar: tarfile.TarFile, start: int, size: int) -> IO[bytes]:
    info = tarfile.TarInfo()
    info.offset_data, info.size = start, size
    return cast(IO[bytes], tar.extractfile(info))


def _write_all(
    archive: Path,
    members: Iterable[_Member],
    into: Path,
    root: str | None,
    limit: int,
    advance: Advance,
) -> str | None:
    members = _listed(members)
    names, told = decoded([member.name for member in members])
    written = 0
    for member, name in zip(members, names, strict=True):
        if not member.is_plain_file:
            raise Damaged(f"{archive}: {name!r} in it is no plain file")
        inner = _inside(archive, name, root)
        if inner is None:
            continue
        written += member.size
        if written > limit:
            raise _too_large(archive, limit)
        target = into / inner
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with member.open() as source, target.open("xb") as file:
                shutil.copyfileobj(source, file, 2**20)
        except FileExistsError:
            raise Damaged(f"{archive}: {name!r} is in it twice") from None
        if target.stat().st_size != member.size:
            raise Damaged(f"{archive}: {name!r} is not as long as it says")
        advance(1)
    return told


def _listed(members: Iterable[_Member]) -> list[_Member]:
    found: list[_Member] = []
    taken = 0
    for member in members:
        found.append(member)
        taken += len(member.name.raw)
        if len(found) > bounded.MOST_FILES:
            raise bounded.Unbounded(f"more than {bounded.MOST_FILES:,} files")
        if taken > _MOST_NAMES_BYTES:
            raise bounded.Unbounded("names that are too long")
    return found


def _inside(archive: Path, name: str, root: str | None) -> PurePosixPath | None:
    """Return the path below ``root``; None for what lies elsewhere or systems leave behind.

    Raises:
        UserError: The name leads outside.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name[:2] or "\0" in name:
        raise Damaged(f"{archive}: {name!r} in it leads outside of the folder")
    if len(path.parts) > _DEEPEST:
        raise bounded.Unbounded(f"a name of {len(path.parts)} parts")
    if any(part in _JUNK or part.startswith("._") for part in path.parts):
        return None
    patterns = PurePosixPath(root or "").parts
    head, rest = path.parts[: len(patterns)], path.parts[len(patterns) :]
    if not rest or not all(map(fnmatchcase, head, patterns)):
        return None
    return PurePosixPath(*rest)


def _is_rar(archive: Path) -> bool:
    with archive.open("rb") as file:
        return file.read(len(_RAR_MAGIC)) == _RAR_MAGIC


def _unpack_rar(
    archive: Path, into: Path, root: str | None, limit: int, advance: Advance
) -> str | None:
    """Let another program unpack, and take over what it made as if it were an archive."""
    tool = next((name for name in _RAR_TOOLS if shutil.which(name)), None)
    if tool is None:
        raise UserError(
            f"{archive}: a rar archive, and none of {', '.join(_RAR_TOOLS)} is installed: "
            f"{_UNPACK_ELSEWHERE}"
        )
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}.") as made:
        before = [tool, *_RAR_TOOLS[tool]]
        last = [made, str(archive)] if tool == "unar" else [str(archive)]
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            none = subprocess.DEVNULL
            command = [*before, *last]
            with subprocess.Popen(
                command, stdin=none, stdout=said, stderr=said, cwd=made
            ) as program:
                while _still_runs(program):
                    if _bytes_in(Path(made)) > limit:
                        program.kill()
                        raise _too_large(archive, limit)
            said.seek(0)
            reason = said.read(10_000).strip().splitlines()[-1:]
        if program.returncode:
            raise UserError(f"{archive}: {tool} failed: {''.join(reason) or program.returncode}")
        return _write_all(archive, _made_members(Path(made)), into, root, limit, advance)


def _still_runs(program: subprocess.Popen[bytes]) -> bool:
    """Return whether a program still runs after a moment."""
    try:
        program.wait(0.5)
    except subprocess.TimeoutExpired:
        return True
    return False


def _bytes_in(folder: Path) -> int:
    """Return the bytes in a folder whose files may be renamed meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def _made_members(folder: Path) -> Iterator[_Member]:
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            name, plain = path.relative_to(folder).as_posix(), stat.S_ISREG(status.st_mode)
            yield _Member(name_of_file(name), plain, status.st_size, partial(io.FileIO, path))
