"""Progress where there is no terminal: lines with speed and time left."""

import re

import pytest

from tools.common import console
from tools.common.console import counted, printable


def test_lines_tell_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What comes before the first results is not part of the speed."""
    with console.rated_progress("out", 4000, "pictures") as advance:
        advance(1)
        monkeypatch.setattr(console, "_LINE_EVERY", 0.0)
    assert capsys.readouterr().err == "out: 4,000 pictures ...\n"
    with console.rated_progress("out", 4000, "pictures") as advance:
        for _ in range(3):
            advance(1000)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == "out: 4,000 pictures ..."
    line = r"out: {} of 4,000 pictures, [\d,.]+ pictures/s, [\d,]+ s left"
    assert re.fullmatch(line.format("2,000"), second)
    assert re.fullmatch(line.format("3,000"), third)


def test_numbers_and_names_are_easy_to_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert (counted(1, "pictures"), counted(2000, "pictures")) == ("1 picture", "2,000 pictures")
    assert console._speed(228_097.24) == "228,097" and console._speed(9.26) == "9.3"
    assert printable("ünï 漢\n\t\x1b.png") == "ünï 漢\\n\\t\\x1b.png"
    with console.rated_progress("one", 1, "pictures"):
        assert capsys.readouterr().err == "one: 1 picture ...\n"
