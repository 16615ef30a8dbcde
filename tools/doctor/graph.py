"""python -m tools.doctor.graph DEVICE: compiles and runs a small graph, and checks its result."""

import sys

import mindspore as ms  # isort: skip
import numpy as np


class _Graph(ms.nn.Cell):
    def construct(self, x: ms.Tensor) -> ms.Tensor:
        return ms.ops.relu(ms.ops.matmul(x, x)).sum()


def main(device: str) -> None:
    """Ends the process with MindSpore's reason if the device cannot be used.

    Args:
        device: "Ascend", "GPU" or "CPU".
    """
    # Whole numbers that even float16 holds.
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    try:
        ms.set_context(mode=ms.GRAPH_MODE)
        ms.set_device(device)
        result = float(_Graph()(ms.Tensor(x)).asnumpy())
    except (RuntimeError, ValueError) as error:
        sys.exit(_reason(str(error), device))
    if result != float((x @ x).sum()):
        sys.exit(f"a wrong result: {result}")
    print(f"computed with MindSpore {ms.__version__}")


def _reason(message: str, device: str) -> str:
    """Returns what matters of a message of MindSpore's, which is long, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip(" -")]
    library = f"libmindspore_{device.lower()}."
    # A library that cannot be loaded is the cause, and stands below the consequence.
    causes = [line for line in lines if line.startswith("Load dynamic") and library in line]
    return " ".join(causes or lines[:1])


if __name__ == "__main__":
    main(sys.argv[1])
