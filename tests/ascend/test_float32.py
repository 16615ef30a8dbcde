"""float32 is float32: what the graph engine is told of HF32, the shorter type."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ascend.stand_in import StandIn
from tests.paths import ROOT

PROGRAM = """
import numpy as np, mindspore as ms
from mindspore import Tensor, ops
from train.distributed import ascend, cluster
cluster.start(cluster.Cluster(0, 1, "Ascend"))
ascend.configure("O2", {precision!r})
class Product(ms.nn.Cell):
    def construct(self, x):
        return ops.matmul(x, x)
Product()(Tensor(np.ones((2, 2), np.float32))).asnumpy()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "told"), [("float32", True), ("float16", False)])
def test_hf32_is_forbidden(built: StandIn, tmp_path: Path, precision: str, told: bool) -> None:
    """By CANN's default a convolution would shorten its operands to 19 bits."""
    program = tmp_path / "program.py"  # MindSpore reads the source of what it compiles
    program.write_text(PROGRAM.format(precision=precision))
    variables = built.environment(tmp_path / "log", chip="910B")
    paths = f"{ROOT}:{variables['PYTHONPATH']}"
    environment = {**os.environ, **variables, "PYTHONPATH": paths}
    subprocess.run([sys.executable, program], env=environment, check=True, capture_output=True)
    log = "".join(path.read_text() for path in tmp_path.glob("log*"))
    assert ("ge.exec.allow_hf32=00" in log) == told
