"""The command line of rank_tables, with stand-ins for the driver's tools."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aliases import Ended
from tests.paths import ROOT
from tests.rank_tables.tables import Run, Save


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a tree to a file."""

    def write(tree: Any, name: str = "table.json") -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(tree))
        return path

    return write


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder that comes first on the PATH of the commands, for stand-ins of the tools."""
    folder = tmp_path / "tools on the path"
    folder.mkdir()
    return folder


@pytest.fixture
def run(tools: Path, tmp_path: Path) -> Run:
    """Runs python -m rank_tables as its own process."""

    def start(*arguments: object) -> Ended:
        environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
        }
        return subprocess.run(
            [sys.executable, "-m", "rank_tables", *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start
