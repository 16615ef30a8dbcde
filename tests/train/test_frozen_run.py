"""A run that starts from given weights and keeps its trunk frozen at first; resumed meanwhile."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.aliases import WriteConfig
from tests.train.runs import assert_same_bits
from train.__main__ import main
from train.config.schema import Config
from train.config.sections import ModelConfig
from train.model.backend import Backend
from train.model.trunks import build_trunk
from train.run.identity import require_same_run, run_identity

Values = dict[str, Any]


def model_of(run: Path, step: int) -> Values:
    return load_file(run / f"checkpoints/step_{step:08d}/model.safetensors")


def trunk_of(run: Path, step: int) -> Values:
    model = model_of(run, step)
    start = "shared.trunk."
    return {k.removeprefix(start): v for k, v in model.items() if k.startswith(start)}


def weights() -> Values:
    """Of a trunk; its norms have seen something."""
    rng = np.random.default_rng(3)
    trunk: Any = build_trunk(ModelConfig(depth=10, width=1), Backend(), ())
    return {p.name: rng.uniform(0.1, 0.2, p.shape).astype("f4") for p in trunk.get_parameters()}


@pytest.mark.slow
def test_a_run_with_a_frozen_trunk(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    """It thaws between two consolidation points, and a resumed run is the same bit for bit."""
    given = weights()
    save_file(given, tmp_path / "trunk.safetensors")
    path = write_config(
        {
            **one_task_config,
            "model": {**one_task_config["model"], "branch": "linear"},  # it compiles faster
            "init_from": str(tmp_path / "trunk.safetensors"),
            "optimizer": {"learning_rate": 0.02, "trunk_rate": 0.5, "freeze_trunk": 3},
            "schedule": {"steps": 6, "consolidate_every": 2},
            "checkpoint": {"every": 2, "keep": 9},
        }
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert main([str(path), f"run_dir={whole}"]) == 0
    for name, values in trunk_of(whole, 2).items():
        np.testing.assert_array_equal(values, given[name], err_msg=name)
    for name, values in trunk_of(whole, 4).items():
        # A bias that a norm takes out again has no gradient.
        assert name.endswith(".bias") or (values != given[name]).any(), name
    head = "tasks.coast.head.linear.weight"
    assert (model_of(whole, 4)[head] != model_of(whole, 2)[head]).any()

    shutil.copytree(whole / "checkpoints/step_00000002", resumed / "checkpoints/step_00000002")
    assert main([str(path), f"run_dir={resumed}"]) == 0
    assert_same_bits(whole, resumed)


def test_a_run_from_before_these_keys_goes_on() -> None:
    """And one of other values does not."""

    def identity(**optimizer: Any) -> dict[str, Any]:
        tree = {"run_dir": "x", "datasets": {"a": "b"}, "tasks": {"a": {}}}
        tree |= {"schedule": {"steps": 2}, "optimizer": optimizer}
        return run_identity(Config.model_validate(tree), [])

    old = json.loads(json.dumps(identity()))
    keys = ("optimizer", "trunk_rate"), ("optimizer", "freeze_trunk"), ("model", "max_pool")
    for section, key in keys:
        del old[section][key]
    assert require_same_run(old, identity(), "runs/old") == {}
    with pytest.raises(Exception, match=r"optimizer\.freeze_trunk was 0 and is now 5"):
        require_same_run(old, identity(freeze_trunk=5), "runs/old")
