"""The tables of docs/results.md are those of the runs that are kept beside it."""

from pathlib import Path

import pytest

from tests.paths import ROOT
from tools.__main__ import main

PAGE = ROOT / "docs" / "results.md"


@pytest.mark.parametrize("split", ["test", "val"])
@pytest.mark.parametrize(
    "folder",
    sorted(f for f in (ROOT / "docs" / "runs").iterdir() if f.is_dir()),
    ids=lambda f: f.name,
)
def test_tables(folder: Path, split: str, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(run) for run in sorted(folder.iterdir())]
    assert main(["compare", *runs, "--markdown", "--split", split]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(rows) > 3
    text = PAGE.read_text(encoding="utf-8")
    assert [row for row in rows if row not in text] == []
