"""How MindSpore compiles for an Ascend NPU, and in which precision its matrix units compute.

What was seen of it without an NPU: docs/ascend.md.
"""

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, context
from mindspore._c_expression import MSContext
from mindspore.device_context.ascend import op_precision

from train.config.sections import JitLevel, Precision
from train.errors import UserError

_FIRST_GENERATION = "ascend910"


def chip() -> str:
    """Return the family of this machine's NPUs: "ascend910", "ascend910b", "ascend910_93"."""
    name: str = MSContext.get_instance().get_ascend_soc_version()
    return name


def rounds_to_float16() -> bool:
    """Return whether the matrix units know no float32: those of an Ascend 910 (A)."""
    return chip() == _FIRST_GENERATION


def to_device(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return tensors of the host for a graph, on the device already if that saves time.

    Where kernels are launched one by one, each would make the host wait for the NPU twice. (A whole
    graph copies what it gets to a place of its own, and waits, wherever that was.) The caller keeps
    its own tensors until the graph has run: a copy may be under way until then.
    """
    by_kernel = context.get_jit_config().get("jit_level") in ("O0", "O1")
    if not by_kernel or context.get_context("device_target") != "Ascend":
        return tuple(tensors)
    return tuple(tensor.move_to("Ascend", blocking=False) for tensor in tensors)


def configure(level: JitLevel, precision: Precision, on_wire: Precision = "float32") -> None:
    """Choose how graphs are compiled; comes after the device is set and before any graph.

    Args:
        level: See the configuration.
        precision: What the network is to compute in.
        on_wire: What the gradients are to travel in.

    Raises:
        UserError: The NPU cannot do it.
    """
    if rounds_to_float16():
        if level != "O2":
            raise UserError(
                f"jit_level: must be auto or O2 on an Ascend 910 (A), not {level!r}: it has no "
                "kernels for graphs that are launched operator by operator"
            )
        for key, value in (("precision", precision), ("reduction.precision", on_wire)):
            if value == "bfloat16":
                raise UserError(
                    f"{key}: must be float16 or float32 on an Ascend 910 (A), not 'bfloat16' "
                    "(an Ascend 910B or later has it)"
                )
    elif precision == "float32":
        _keep_float32()
    ms.set_context(jit_config={"jit_level": level})


def _keep_float32() -> None:
    """Forbid HF32, to which CANN shortens float32 operands of convolutions by default: 19 bits."""
    # MindSpore's graph engine reads the old setting only, whatever is said of it; its operators
    # that are launched by themselves have the new one.
    ms.set_context(ascend_config={"conv_allow_hf32": False, "matmul_allow_hf32": False})
    op_precision.conv_allow_hf32(False)
    op_precision.matmul_allow_hf32(False)
