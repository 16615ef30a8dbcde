"""What is decided for Ascend NPUs before anything is compiled."""

from typing import Any

import pytest

from train import build
from train.config.schema import Config
from train.distributed import ascend
from train.distributed.cluster import Cluster
from train.errors import UserError


def config(**changes: Any) -> Config:
    tree = {
        "run_dir": "run",
        "datasets": {"ucm": {"records": "data"}},
        "tasks": {"ucm": {}},
        "schedule": {"steps": 1},
        "device": "Ascend",
    }
    return Config.model_validate({**tree, **changes})


@pytest.fixture
def first_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascend, "chip", lambda: "ascend910")


@pytest.fixture
def later_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ascend, "chip", lambda: "ascend910b")


def test_auto() -> None:
    assert build.precision_of(config()) == "float16"
    assert build.precision_of(config(device="CPU")) == "float32"
    assert build.precision_of(config(device="GPU")) == "float32"
    assert build.precision_of(config(precision="bfloat16")) == "bfloat16"
    assert build.jit_level_of(config()) == "O2"
    assert build.jit_level_of(config(jit_level="O0")) == "O0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jit_level": "O0"}, "jit_level: must be auto or O2 on an Ascend 910 .* 'O0'"),
        ({"precision": "bfloat16"}, "^precision: must be float16 or float32 .* 'bfloat16'"),
        (
            {"reduction": {"precision": "bfloat16"}},
            "^reduction.precision: must be float16 or float32 .* 'bfloat16'",
        ),
    ],
)
def test_what_the_first_generation_cannot_do(
    first_generation: None, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build.configure_device(config(**changes), Cluster(0, 1, "Ascend"))


@pytest.mark.parametrize("precision", ["auto", "float16", "float32"])
def test_the_first_generation_always_scales_the_loss(
    first_generation: None, precision: str
) -> None:
    """It computes in float16 whatever it is told, and notes an overflow in a status."""
    scale = build.build_loss_scale(config(precision=precision))
    assert scale is not None and scale.saturates
    assert ("in float16" in build.describe_device(config(precision=precision))) == (
        precision == "float32"
    )


def test_later_generations_scale_what_is_float16(later_generation: None) -> None:
    scale = build.build_loss_scale(config())
    assert scale is not None and not scale.saturates
    assert build.build_loss_scale(config(precision="float32")) is None
    assert build.build_loss_scale(config(precision="bfloat16")) is None
