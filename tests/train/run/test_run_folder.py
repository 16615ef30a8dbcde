"""The checkpoints of a run folder, as the run asks for them."""

from pathlib import Path

import numpy as np
import pytest

from train.config.schema import Config
from train.run.checkpoint import VALIDATION, Checkpoint
from train.run.run_folder import RunFolder


@pytest.mark.parametrize("keep_best", [True, False])
def test_only_what_is_better_than_all_before_is_the_best(
    tmp_path: Path, keep_best: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """As much is not better: the first one stays, and nothing is saved for the second."""
    config = Config.model_validate(
        {
            "run_dir": str(tmp_path / "run"),
            "datasets": {"ucm": {"records": "data/ucm"}},
            "tasks": {"ucm": {}},
            "schedule": {"steps": 100},
            "evaluate": {"every": 50},
            "checkpoint": {"keep_best": keep_best},
        }
    )
    folder = RunFolder(config, is_first=True)
    folder.start(0, bytes_of_checkpoint=4)
    assert folder.is_best({"mean": 0.5}) == keep_best
    values = {"w": np.zeros(1, np.float32)}
    folder.save_checkpoint(Checkpoint(10, values, values, {VALIDATION: {"mean": 0.5}}))
    found = [folder.is_best({"mean": mean}) for mean in (0.4, 0.5, 0.6)]
    assert found == [False, False, keep_best] and not folder.is_best(None)
    assert capsys.readouterr().out.count("best so far on val") == 2 * keep_best
    folder.close()
