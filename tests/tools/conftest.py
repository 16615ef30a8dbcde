"""A folder of small pictures, and the command line."""

from pathlib import Path

import pytest

from tests.tools.commands import Outcome, Tools
from tests.tools.data_sets import picture
from tools.__main__ import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three classes of 10, 10 and 5 PNG pictures in folder "src"."""
    root = tmp_path / "src"
    seed = 0
    for name, count in (("water", 10), ("field", 10), ("town", 5)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            seed += 1
            picture(seed).save(root / name / f"{name}_{number:02d}.png")
    return root


@pytest.fixture
def tools(capfd: pytest.CaptureFixture[str]) -> Tools:
    """Runs ``python -m tools`` with arguments, in this process."""

    def run(*arguments: object) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as leaving:
            code = int(str(leaving.code))
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
