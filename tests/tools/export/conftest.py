"""A small trained run, which the tests of the command export."""

from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def trained_run(joint_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a norm per data set, a moving average and two checkpoints. Do not change it."""
    from train.__main__ import main

    folder = tmp_path_factory.mktemp("trained")
    tree = {
        **joint_tree,
        "model": {"depth": 10, "width": 1, "norm": "domain"},
        "ema": 0.5,
        "evaluate": {"every": 2, "images": 12},
        "checkpoint": {"every": 2, "keep": 2},
        "run_dir": str(folder / "run"),
    }
    config = folder / "run.yaml"
    config.write_text(yaml.safe_dump(tree))
    assert main([str(config)]) == 0
    return folder / "run"
