"""The part of a Markdown page that a command writes, between two marks."""

from dataclasses import dataclass
from pathlib import Path

from tools.common.command_line import refused
from train.errors import UserError


@dataclass(frozen=True)
class PagePart:
    """What stands in a page between two lines.

    Attributes:
        begin: The line before it.
        end: The line after it.
    """

    begin: str
    end: str

    def around(self, page: Path) -> tuple[str, str]:
        """Return what stands before and after it in a page.

        Raises:
            UserError: The page cannot be read, or lacks the marks.
        """
        with refused(page, "cannot be read"):
            text = page.read_text(encoding="utf-8")
        before, begin, rest = text.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise UserError(f"{page}: must hold the lines {self.begin!r} and {self.end!r}")
        return before, after

    def block(self, text: str) -> str:
        """Return it with its marks."""
        return f"{self.begin}\n{text}\n{self.end}"

    def replace(self, page: Path, text: str) -> None:
        """Put something else into a page.

        Raises:
            UserError: The page cannot be read or written, or lacks the marks.
        """
        before, after = self.around(page)
        with refused(page, "cannot be written"):
            page.write_text(f"{before}{self.block(text)}{after}", encoding="utf-8")
