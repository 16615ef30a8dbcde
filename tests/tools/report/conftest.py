"""A run that has written its report, and what a browser would find in it."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from train import __main__ as train_main


@dataclass(frozen=True)
class Reported:
    """A completed run, what it has printed, and its configuration."""

    folder: Path
    out: str
    tree: dict[str, Any]


@pytest.fixture(scope="package")
def reported(joint_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """Scene tasks and a segmentation task, with event files; the report is the run's own."""
    folder = tmp_path_factory.mktemp("reported")
    tree = {
        **joint_tree,
        "evaluate": {"every": 2, "images": 12},
        "run_dir": str(folder / "run"),
        "report": True,
        "tensorboard": True,
    }
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(tree))
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert train_main.main([str(config)]) == 0
    return Reported(folder / "run", told.getvalue(), tree)
