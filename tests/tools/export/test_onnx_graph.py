"""The ONNX graph in onnxruntime against MindSpore's operators, for every kind of layer there is."""

from typing import Any, get_args

import mindspore as ms
import numpy as np
import onnxruntime
import pytest

from tests.tools.export.networks import SMALL, logits_of, made, pictures
from tools.export.onnx_graph import network as heads
from tools.export.onnx_graph.network import build_model
from tools.export.onnx_graph.trunks import TRUNKS
from train.config.sections import ModelConfig
from train.tasks.registry import KINDS


@pytest.fixture(autouse=True)
def eager_mode() -> Any:
    """Operator by operator: nothing has to be compiled."""
    ms.set_device("CPU")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def session(model: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize(
    "model",
    [
        SMALL,
        {**SMALL, "norm": "domain"},
        {**SMALL, "norm": "group"},
        {**SMALL, "branch": "linear", "depth": 16},
        {"trunk": "resnet18", "norm": "domain", "branch": "linear", "max_pool": "symmetric"},
        pytest.param({"trunk": "resnet18"}, marks=pytest.mark.slow),
        pytest.param({"trunk": "resnet50", "branch": "linear"}, marks=pytest.mark.slow),
    ],
    ids=lambda model: " ".join(map(str, model.values())),
)
def test_logits_are_those_of_mindspore(model: dict[str, Any]) -> None:
    """At an even and an odd size, for one picture and several, by the same file."""
    network, subject = made(**model)
    running = session(build_model(subject, "logits"))
    pixels = pictures(5, *((13, 18) if model["trunk"] == "wide_resnet" else (33, 64)))
    expected = logits_of(network, pixels)
    for count in (1, 5):
        found = running.run(None, {subject.input_name: pixels[:count]})
        for mine, theirs in zip(found, expected, strict=True):
            # Weights that were never trained make logits of any size: on that of a trained one's.
            size = np.abs(theirs).max() / 10
            np.testing.assert_allclose(mine / size, theirs[:count] / size, atol=1e-4, rtol=0)
            assert np.ptp(theirs / size, axis=1).max() > 0.1


def test_all_that_a_configuration_can_name_can_be_exported() -> None:
    assert set(TRUNKS) == set(get_args(ModelConfig.model_fields["trunk"].annotation))
    assert set(heads._HEADS) == set(KINDS)
