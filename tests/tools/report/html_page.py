"""A page as a tree, read by the parser of the standard library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "img", "input", "br", "wbr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parts: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, spaces as they come."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, tag: str = "", css: str = "") -> Iterator[Element]:
        """The elements in it, in their order, of a tag and a class."""
        for part in self.parts:
            if isinstance(part, Element):
                if tag in ("", part.tag) and (
                    not css or css in part.attributes.get("class", "").split()
                ):
                    yield part
                yield from part.all(tag, css)

    def id(self, name: str) -> Element:
        [found] = [e for e in self.all() if e.attributes.get("id") == name]
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.stack = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].parts.append(element)
        if tag not in _VOID:
            self.stack.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.stack[-1].parts.append(element)

    def handle_endtag(self, tag: str) -> None:
        # Every element is closed where it should be, or a browser would have to guess.
        assert self.stack[-1].tag == tag, f"{tag} closes {self.stack[-1].tag}"
        self.stack.pop()

    def handle_data(self, data: str) -> None:
        self.stack[-1].parts.append(data)


def read(path: Path) -> Element:
    """Read a page."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    [root] = reader.stack
    return root
