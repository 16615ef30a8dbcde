"""The pages of the documentation, taken apart: what is code in them, and what is not."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.paths import ROOT

# What the tests here look after: the pages that users follow.
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
COMMANDS = ("bash", "console")
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1``` *$", re.M | re.S)
_NEEDS = re.compile(r"# needs: (.+)")


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Attributes:
        page: The page.
        line: The line of its first line of code.
        language: The word behind the fence.
        text: What is between the fences.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def needs(self) -> str:
        """What it takes to run it that no test has, from its first line; "" for nothing."""
        found = _NEEDS.match(self.text)
        return found.group(1) if found else ""

    @property
    def place(self) -> str:
        """Where it is, as messages say it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Piece:
    """What runs at once: a block of bash, or a command of a transcript and what it prints."""

    place: str
    code: str
    output: str | None = None


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent, language, code = match.groups()
        line = text.count("\n", 0, match.start(3)) + 1
        code = re.sub(f"^{indent}", "", code, flags=re.M)
        found.append(Block(page, line, language, code))
    return found


def pieces(block: Block) -> list[Piece]:
    """Return what a block of commands runs, in order."""
    if block.language == "bash":
        return [Piece(block.place, block.text)]
    found = []
    for part in re.split(r"^\$ ", block.text, flags=re.M)[1:]:
        command = re.match(r"(?:.*\\\n)*.*\n", part)
        assert command, block.place
        found.append(Piece(block.place, command.group(), part[command.end() :]))
    return found


def inline_code(page: Path) -> list[str]:
    """Return the short pieces of code in the text of a page."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def without_code(page: Path) -> str:
    """Return the text of a page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
