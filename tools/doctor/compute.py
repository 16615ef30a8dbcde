"""Whether MindSpore really computes."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tools.doctor.finding import FAIL, OK, Finding, Machine, output_of
from train.environment import prepare_for_mindspore

# Long enough to compile operators on an NPU whose caches are cold.
_SECONDS = 300
_ROOT = Path(__file__).resolve().parents[2]
_REMEDIES = {
    "CPU": 'reinstall: rm -rf .venv, then "bash launch/setup.sh"',
    "GPU": "see the lines about the GPU above",
    "Ascend": "see the lines about Ascend above; CANN's own log is in ~/ascend/log",
}


def examine(machine: Machine) -> Iterator[Finding]:
    """Compile and run a small graph, in a process of its own since it may crash."""
    name = f"MindSpore on {machine.device}"
    program = "import sys; from tools.doctor import compute; print(compute.compute(sys.argv[1]))"
    command = [sys.executable, "-c", program, machine.device]
    # CANN's own entries stay in front.
    path = ":".join(filter(None, (machine.environment.get("PYTHONPATH"), str(_ROOT))))
    try:
        # MindSpore leaves folders where it runs.
        with tempfile.TemporaryDirectory() as folder:
            output = output_of(command, _SECONDS, Path(folder), PYTHONPATH=path, GLOG_v="3")
    except (OSError, RuntimeError) as error:
        yield Finding(name, FAIL, str(error), _REMEDIES[machine.device])
    else:
        yield Finding(name, OK, output.splitlines()[-1])


def compute(device: str) -> str:
    """Compile and run a small graph; return what there is to say.

    Args:
        device: "Ascend", "GPU" or "CPU".

    Raises:
        SystemExit: The result is wrong, or there is none: with MindSpore's reason, in one line.
    """
    prepare_for_mindspore()
    import mindspore as ms

    class Graph(ms.nn.Cell):
        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return ms.ops.relu(ms.ops.matmul(x, x)).sum()

    # Whole numbers that even float16 holds.
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(device)
        result = float(Graph()(ms.Tensor(x)).asnumpy())
    except (RuntimeError, ValueError) as error:
        sys.exit(_reason(str(error), device))
    if result != float((x @ x).sum()):
        sys.exit(f"a wrong result: {result}")
    return f"computed with MindSpore {ms.__version__}"


def _reason(message: str, device: str) -> str:
    """Return what matters of a message of MindSpore's, which is long, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip(" -")]
    library = f"libmindspore_{device.lower()}."
    # A library that cannot be loaded is the cause, and stands below the consequence.
    causes = [line for line in lines if line.startswith("Load dynamic") and library in line]
    return " ".join(causes or lines[:1])
