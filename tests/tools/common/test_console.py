"""Progress where there is no terminal: lines with speed and time left."""

import re

import pytest

from tools.common import console


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
