"""The pages of the project name files that are there."""

import re
from pathlib import Path

import pytest

from tests.paths import ROOT

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "rank_tables/*.md", "launch/*/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
# Made by the reader, or by a program.
MADE = ("runs/", "data/", "configs/mine", "train/native/built")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    missing = [
        link
        for link in links
        if "://" not in link
        and not link.startswith("mailto:")
        and not (page.parent / link).exists()
    ]
    rooms = "train|launch|tools|tests|configs|docs|rank_tables|\\.ci|\\.github"
    named = re.findall(rf"`((?:{rooms})/[\w./-]*)", text)
    missing += [
        name
        for name in named
        if not name.startswith(MADE) and "NAME" not in name and not (ROOT / name).exists()
    ]
    assert not missing


def test_anchors_of_links() -> None:
    missing = []
    for page in PAGES:
        for path, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]+)\)", text_of(page)):
            target = (page.parent / path).resolve() if path else page
            if target.suffix == ".md" and anchor not in anchors(target):
                missing.append(f"{page.relative_to(ROOT)}: {path}#{anchor}")
    assert not missing


def text_of(page: Path) -> str:
    """Return a page without its blocks of code, in which # is no heading."""
    return re.sub(r"^( *)```.*?^\1```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
