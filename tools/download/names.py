"""What the files in an archive are called: the bytes there are not always UTF-8, nor say what."""

import re
import struct
import zipfile
import zlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

_FLAGGED = 0x800
# Of Info-ZIP: version, CRC-32 of the name that it replaces, the name in UTF-8.
_UNICODE_PATH = 0x7075
# Most archives that do not say come from Windows: a Chinese one, or one that leaves names in the
# code page of DOS, in which any bytes can be read.
_UTF8, _GBK, _DOS = "utf-8", "gbk", "cp437"
_TOLD = {_UTF8: None, _GBK: "GBK", _DOS: "code page 437"}
# Of Chinese, nearly every letter is two such bytes; accents stand alone between other letters.
_CHINESE = re.compile(rb"[\x80-\xff]{2}")


class Name(NamedTuple):
    """The name of a file as it stands in an archive, and whether it is sure to be UTF-8."""

    raw: bytes
    is_utf8: bool


def decoded(names: Sequence[Name]) -> tuple[list[str], str | None]:
    """Decode the names of an archive.

    Those that do not say what they are have one encoding together: the first of UTF-8, GBK and code
    page 437 in which all of them can be read.

    Returns:
        The names; and the encoding, if it is to be told since it is only likely.
    """
    unsure = {name.raw for name in names if not (name.is_utf8 or name.raw.isascii())}
    if _all_decode(unsure, _UTF8):
        encoding = _UTF8
    else:
        chinese = all(map(_CHINESE.search, unsure)) and _all_decode(unsure, _GBK)
        encoding = _GBK if chinese else _DOS
    texts = [
        name.raw.decode(encoding if name.raw in unsure else "utf-8", "surrogateescape")
        for name in names
    ]
    return texts, _TOLD[encoding]


def _all_decode(names: Collection[bytes], encoding: str) -> bool:
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def name_in_zip(info: zipfile.ZipInfo) -> Name:
    """Return the name of a file in a zip archive."""
    if info.flag_bits & _FLAGGED:
        return Name(info.orig_filename.encode(), True)
    raw = info.orig_filename.encode("cp437")  # as zipfile has decoded it
    place = 0
    while len(info.extra) - place >= 4:
        kind, length = struct.unpack_from("<HH", info.extra, place)
        field = info.extra[place + 4 : place + 4 + length]
        place += 4 + length
        if kind == _UNICODE_PATH and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return Name(field[5:], True)
    return Name(raw, False)


def name_of_file(name: str, is_utf8: bool = False) -> Name:
    """Return a name that Python has read as UTF-8, with surrogates for what is none."""
    return Name(name.encode("utf-8", "surrogateescape"), is_utf8)
