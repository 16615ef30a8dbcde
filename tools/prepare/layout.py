"""A layout: how the path of a picture tells its class, split and group."""

import posixpath
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from train.errors import UserError

# What a folder, or a value in a table, may be called that stands for a split; in any case.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
FIELDS = ("class", "split", "group", "name")

# Longer words first, as "train" is the start of another.
_SPLITS = f"(?i:{'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})"
_PARTS = re.compile(r"(\{[^{}/]*\}|\*\*/|\*)")


def split_of(name: str) -> str | None:
    """Return the split that a word stands for, if it does."""
    return SPLIT_NAMES.get(name.lower())


def split_pattern(name: str) -> str | None:
    """Return a name with ``{split}`` for the word in it that stands for one, if there is one."""
    for word in re.findall("[A-Za-z]+", name):
        if split_of(word):
            return name.replace(word, "{split}", 1)
    return None


def plain_name(name: str) -> str:
    """Return a name without case, blanks and the like, in the same letters on every system."""
    plain = unicodedata.normalize("NFKC", name).casefold().strip()
    # "1_0" is not "10", and "-1" not "1".
    return re.sub(r"(?<![\d\s_])[\s_]+|[\s_]+(?![\d\s_])|(?<=[^\W\d])-+(?=[^\W\d])", "", plain)


@dataclass(frozen=True)
class Layout:
    """A pattern of paths from SRC, such as ``{split}/{class}/*`` or ``{class}/**/*``.

    Attributes:
        text: The pattern. ``{class}``, ``{split}``, ``{group}`` and ``{name}`` are parts of one
            name, as ``*`` is; ``**/`` is any folders.
    """

    text: str

    def __post_init__(self) -> None:
        where = f"--layout {self.text}"
        for part in _PARTS.findall(self.text):
            if part[0] == "{" and part[1:-1] not in FIELDS:
                known = ", ".join(f"{{{name}}}" for name in FIELDS)
                raise UserError(f"{where}: {part} is none of {known}")
        if self.text.startswith("/") or ".." in self.text.split("/") or not self.text:
            raise UserError(f"{where}: must be a pattern of paths below SRC, such as {{class}}/*")
        if posixpath.basename(self.text) in ("", *(f"{{{name}}}" for name in FIELDS[:3])):
            raise UserError(f"{where}: the file is missing: {self.text.rstrip('/')}/*")

    def has(self, name: str) -> bool:
        """Return whether the pattern gives a field."""
        return f"{{{name}}}" in self.text

    def compiled(self) -> "re.Pattern[str]":
        """Return the regular expression of a whole path."""
        found, seen = "", set()
        for part in _PARTS.split(self.text.removeprefix("./")):
            if part == "**/":
                found += "(?:.*/)?"
            elif part == "*":
                found += "[^/]*"
            elif part.startswith("{") and part in seen:
                found += f"(?P={part[1:-1]})"
            elif part.startswith("{"):
                values = _SPLITS if part == "{split}" else "[^/]+"
                found += f"(?P<{part[1:-1]}>{values})"
                seen.add(part)
            else:
                found += re.escape(part)
        return re.compile(found)


def fields(match: "re.Match[str]") -> dict[str, str]:
    """Return what a path says: class, split and group, "" where nothing is said.

    A group is named by the whole path up to it: ``1`` in two folders is two groups.
    """
    found: dict[str, Any] = match.groupdict()
    if "group" in found:
        found["group"] = match.string[: match.end("group")]
    return {name: found.get(name, "") for name in FIELDS}
