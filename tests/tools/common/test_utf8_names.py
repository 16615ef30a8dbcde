"""Names of files are UTF-8 under every locale."""

import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT
from tests.tools.data_sets import picture, rows_of


def test_names_under_a_locale_of_another_encoding(tmp_path: Path) -> None:
    for name in ("wälder", "湖"):
        (tmp_path / "src" / name).mkdir(parents=True)
        for number in range(4):
            picture(number + len(name)).save(tmp_path / "src" / name / f"ö{number}.png")
    # No other locale is sure to be there; in this one file names are ASCII to Python.
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    arguments = ["prepare", "src", "--out", "größe", "--duplicates", "allow", "--workers", "2"]
    result = subprocess.run(
        [sys.executable, "-m", "tools", *arguments],
        env={**os.environ, **locale, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert {row["class"] for row in rows_of(tmp_path / "größe")} == {"wälder", "湖"}
    # What is printed is in the encoding of the terminal.
    assert b"w\\xe4lder" in result.stdout
