"""Feature maps in 16 bits: what is rounded, and what is not."""

import json
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops
from safetensors.numpy import load_file

from tests.aliases import WriteConfig
from tests.train.networks import CLASSES, TASKS, make_network, make_scene_batch, make_step, values
from tests.train.numpy_half import EPSILON, HALVES, rounded
from train import build
from train.__main__ import main
from train.config.schema import Config
from train.config.sections import Precision
from train.distributed.cluster import Cluster
from train.errors import UserError
from train.model.backend import Backend
from train.optim.loss_scale import LossScale
from train.optim.optimizers import scalar
from train.step.train_step import StepOptions

pytestmark = [pytest.mark.usefixtures("graph_mode"), pytest.mark.slow]

# Convolutions that an image passes one after the other: trunk, three per level, and the head.
DEPTH = 10 + 4 * 3 + 1
STEPS = 3


class InFloat32(nn.Cell):
    """An operator of bfloat16 on a CPU, where there is none: computes in float32 and rounds.

    With float16 MindSpore does the same by itself.
    """

    def __init__(self, operator: Any) -> None:
        super().__init__()
        self.operator = operator

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        y = self.operator(x.astype(ms.float32), weight.astype(ms.float32))
        return y.astype(x.dtype)


class AnyBackend(Backend):
    """Backend whose operators of bfloat16 run here."""

    def conv(self, *args: Any, **kwargs: Any) -> nn.Cell:
        layer = super().conv(*args, **kwargs)
        if self.half == ms.bfloat16:
            layer.conv2d = InFloat32(layer.conv2d)
            layer.bias_add = InFloat32(layer.bias_add)
        return layer

    def stem(self, *args: Any, **kwargs: Any) -> nn.Cell:
        return self.conv(3, *args, **kwargs)


@pytest.mark.parametrize("precision", HALVES)
def test_a_convolution_against_numpy(precision: Precision) -> None:
    """Maps and gradients of maps are numbers of the type, and so is what the operands become."""
    rng = np.random.default_rng(0)
    layer = AnyBackend(precision=precision).conv(5, 4, 1)
    half = getattr(ms, precision)
    x, dy = (rng.normal(size=(3, n)).astype(np.float32) for n in (5, 4))
    bias = rng.normal(size=4).astype(np.float32)
    layer.bias.set_data(Tensor(bias))
    weight = layer.weight.asnumpy().reshape(4, 5)
    pixels = Tensor(x.reshape(3, 5, 1, 1)).astype(half)

    def forward(x: Tensor) -> Tensor:
        return (layer(x).astype(ms.float32).reshape((3, 4)) * Tensor(dy)).sum()

    y = layer(pixels)
    dx, (dweight, dbias) = ops.grad(forward, 0, layer.trainable_params())(pixels)
    assert (y.dtype, dx.dtype) == (half, half)
    assert {t.dtype for t in (dweight, dbias, *layer.trainable_params())} == {ms.float32}
    x16, w16, b16, dy16 = (rounded(a, precision) for a in (x, weight, bias, dy))
    expected = {
        "y": (y, x16 @ w16.T + b16),
        "dx": (dx, dy16 @ w16),
        "dweight": (dweight, dy16.T @ x16),
        "dbias": (dbias, dy16.sum(0)),
    }
    for name, (tensor, exact) in expected.items():
        found = tensor.astype(ms.float32).asnumpy().reshape(exact.shape)
        scale = np.abs(exact).max()
        # A sum of few terms, added up in any order and precision of 16 bits or more, and rounded.
        assert np.abs(found - exact).max() <= 6 * EPSILON[precision] * scale, name
        np.testing.assert_array_equal(rounded(found, precision), found)


def train(precision: Precision) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows of some steps, and how far the parameters have moved."""
    network = make_network(AnyBackend("group", precision), list(CLASSES), TASKS)
    scale = LossScale() if precision == "float16" else None
    options = StepOptions(loss_scale=scale)
    step = make_step(network, list(CLASSES), TASKS, options=options)
    before = values(network)
    rows = [step(scalar(0.01), *make_scene_batch(seed=n)).asnumpy() for n in range(STEPS)]
    after = values(network)
    return np.stack(rows), {name: after[name] - before[name] for name in before}


@pytest.fixture(scope="module")
def in_float32() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    ms.set_context(mode=ms.GRAPH_MODE)
    return train("float32")


def test_steps_are_those_of_float32_to_rounding(
    in_float32: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    """In float16: MindSpore has hardly any operators of bfloat16 on a CPU."""
    precision: Precision = "float16"
    rows, moved = train(precision)
    expected, way = in_float32
    assert (rows[:, -1] == 1).all()
    # Every layer rounds twice (operands, result), and the backward pass as often again. In a mean
    # these errors have nothing to do with each other; those of a gradient may all add up, as one
    # that turns a ReLU over is in all layers before.
    roundings = 4 * DEPTH
    bound = np.sqrt(roundings) * EPSILON[precision]
    losses, norms = slice(0, 3), slice(-2, -1)
    np.testing.assert_allclose(rows[:, losses], expected[:, losses], rtol=bound)
    np.testing.assert_allclose(rows[:, norms], expected[:, norms], rtol=bound)
    assert (rows[:, losses] != expected[:, losses]).mean() > 0.5  # one or two may meet
    total, off = (
        np.concatenate([d[name].ravel() for name in way])
        for d in (way, {name: moved[name] - way[name] for name in way})
    )
    assert 0 < np.linalg.norm(off) < roundings * EPSILON[precision] * np.linalg.norm(total)


def test_a_run_in_float16(
    one_task_config: dict[str, Any],
    write_config: WriteConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says why the native operators are not used, and what it saves is float32."""
    path, run_dir = write_config(one_task_config), tmp_path / "run"
    assert main([str(path), f"run_dir={run_dir}", "schedule.steps=2", "precision=float16"]) == 0
    assert "own CPU operators, which are slower: precision is float16" in capsys.readouterr().out
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss_scale"] for row in rows if row["kind"] == "train"] == [2.0**16] * 2
    for file in (run_dir / "checkpoints/step_00000002").glob("*.safetensors"):
        assert {value.dtype for value in load_file(file).values()} == {np.dtype(np.float32)}


def test_what_a_cpu_cannot_compute() -> None:
    tree = {
        "run_dir": "run",
        "datasets": {"ucm": {"records": "data"}},
        "tasks": {"ucm": {}},
        "schedule": {"steps": 1},
    }
    on_wire = {"reduction": {"precision": "bfloat16"}}
    cpu, gpu = Cluster(0, 2, "CPU"), Cluster(0, 2, "GPU")
    for key, changed in (
        ("precision", {"precision": "bfloat16"}),
        ("reduction.precision", on_wire),
    ):
        config = Config.model_validate({**tree, **changed})
        with pytest.raises(UserError, match=f"^{key}: must be float32 or float16 .* 'bfloat16'"):
            build.configure_device(config, cpu)
        build.configure_device(config, gpu)
    config = Config.model_validate({**tree, **on_wire})
    build.configure_device(config, Cluster(0, 2, "CPU", under_mpirun=True))
    build.configure_device(config, Cluster(0, 1, "CPU"))
