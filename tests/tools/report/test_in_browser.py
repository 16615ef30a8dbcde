"""The report in a real browser: on a telephone, on paper, light and dark, and with bad names."""

import base64
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.browser import Page, browse
from tests.tools.commands import Tools
from tests.tools.report.conftest import Reported

pytestmark = pytest.mark.slow

TELEPHONE = 360
# An A4 page without its margins, in pixels of CSS.
PAPER = 718
# What sticks out of the page; tables may scroll on their own on a screen, but not on paper.
BEYOND = """[...document.querySelectorAll('main *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > document.documentElement.clientWidth + 1
    && !e.closest('svg') && !(%s && e.closest('.scroll'));
}).map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)"""
# Tables that scroll sideways, and rows of pictures that are broken.
CUT = """[...document.querySelectorAll('.scroll')].filter(e => e.querySelector('table')
  && e.scrollWidth > e.clientWidth).map(e => e.textContent.slice(0, 40))"""
BROKEN = """[...document.querySelectorAll('.strip > div')].filter(e => e.offsetWidth
  && new Set([...e.children].map(c => c.offsetTop)).size > 1).length"""
BARS = "[...document.querySelectorAll('td.bar svg')].every(e => e.clientWidth > 100)"
# Names that a line breaks within a word, which would have had room in a line of its own.
TORN = """[...document.querySelectorAll('.key, .cell span, .thumb, tbody th')].filter(e => {
  const walker = document.createTreeWalker(e, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    const words = walker.currentNode.textContent.trim().split(' ');
    const tops = new Set([...range.getClientRects()].map(r => Math.round(r.top)));
    if (words.length === 1 && tops.size > 1) return true;
  }
  return false;
}).map(e => e.textContent)"""
SMALLEST = """Math.min(...[...document.querySelectorAll('p, td, th, dd, dt, figcaption, span, a')]
  .filter(e => e.offsetWidth && e.textContent.trim()).map(
    e => parseFloat(getComputedStyle(e).fontSize)))"""
# Ratio of the luminances of text and paper (WCAG 2, 1.4.3).
CONTRASTS = """(() => {
  const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => {
    v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  return ['h1', '.note', 'dt', 'a', 'thead th', '.bad', '.status'].map(s => {
    const own = light(getComputedStyle(document.querySelector(s)).color);
    return (Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05); });
})()"""
EVIL = "</title><script>window.evil = 1</script><img src=x onerror='window.evil=1'>"


async def assert_sound(page: Page, path: Path) -> None:
    """Nothing is asked for or complained of, and nothing sticks out, in whatever way it is seen."""
    await page.open(path)
    for width, media, inner in ((TELEPHONE, "screen", True), (PAPER, "print", False)):
        await page.show(width, media)
        assert await page.value("document.documentElement.scrollWidth") <= width
        assert await page.value(BEYOND % str(inner).lower()) == []
    await page.show(TELEPHONE)
    assert await page.value(SMALLEST) >= 11
    assert await page.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.requests() == [path.as_uri()]
    assert page.complaints() == []


def test_it_is_read_anywhere(reported: Reported) -> None:
    async def look(page: Page) -> None:
        await assert_sound(page, reported.folder / "report.html")
        for width in (TELEPHONE, 700, 1280):
            await page.show(width)
            assert await page.value(CUT) == []
            assert await page.value(BROKEN) == 0
            assert await page.value(TORN) == []
        await page.show(TELEPHONE)
        assert await page.value(BARS)
        papers = []
        for scheme in ("light", "dark"):
            await page.show(1200, scheme=scheme)
            papers.append(await page.value("getComputedStyle(document.body).backgroundColor"))
            contrasts: Sequence[float] = await page.value(CONTRASTS)
            assert min(contrasts) >= 4.5
        assert len(set(papers)) == 2
        # Dark or not, paper is white.
        await page.show(PAPER, "print", "dark")
        assert (
            await page.value("getComputedStyle(document.body).backgroundColor")
            == "rgb(255, 255, 255)"
        )
        pdf = base64.b64decode((await page.call("Page.printToPDF"))["data"])
        assert pdf.startswith(b"%PDF")

    browse(look)


def test_levels_of_attention_are_chosen_without_a_script(reported: Reported) -> None:
    async def look(page: Page) -> None:
        await page.open(reported.folder / "report.html")
        shown = "[...document.querySelectorAll('.level')].map(e => e.offsetHeight > 0)"
        assert await page.value(shown) == [True, False, False, False]
        await page.value("document.querySelectorAll('.levels label')[2].click()")
        assert await page.value(shown) == [False, False, True, False]

    browse(look)


def test_names_are_text(reported: Reported, tools: Tools, tmp_path: Path) -> None:
    """Whatever a class or a folder is called, long or full of markup."""
    folder = tmp_path / EVIL.replace("/", "|")
    shutil.copytree(reported.folder, folder, ignore=shutil.ignore_patterns("checkpoints"))
    summary = json.loads((folder / "summary.json").read_text())
    for splits in summary["tasks"].values():
        metrics = splits["test"]
        key = "per_class" if "per_class" in metrics else "per_class_iou"
        names = [EVIL, "a" * 90, "many words " * 9, "'\"&<b>"]
        metrics[key] = dict(zip(names, metrics[key].values(), strict=False))
    (folder / "summary.json").write_text(json.dumps(summary))
    out = tmp_path / "report.html"
    assert tools("report", folder, "--no-pictures", "--out", out).code == 0

    async def look(page: Page) -> None:
        await assert_sound(page, out)
        assert await page.value("window.evil") is None
        assert EVIL in await page.value("document.body.textContent")

    browse(look)
