"""A graph of ONNX nodes while it is written.

Values are known by their names. Those that this class gives hold a slash, which no name of a task
or data set can.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from train.run.checkpoint import Arrays

# All operators here are in it, and every runtime of the last years knows it; so is the version of
# the file format, where the library would write its newest.
OPSET = 13
IR_VERSION = 8
PRODUCER = "mtln"

# Name, element type (a number of TensorProto's) and shape, with names for what may differ.
Value = tuple[str, int, Sequence[int | str]]


class Graph:
    """Nodes and constants.

    Args:
        arrays: Parameters and statistics of the network, by name.
    """

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        name = f"{operator}/{len(self._nodes)}"
        output = output or name
        self._nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))
        return output

    def constant(self, values: Any, name: str = "") -> str:
        """Add a constant, once if it is given a name; return its name."""
        name = f"{name}/value" if name else f"constant/{len(self._constants)}"
        if name not in self._constants:
            array = np.ascontiguousarray(values)
            self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def has(self, prefix: str) -> bool:
        """Return whether there is a parameter below a name."""
        return any(name.startswith(f"{prefix}.") for name in self.arrays)

    def count(self, prefix: str) -> int:
        """Return how many numbered parts there are below a name."""
        number = 0
        while self.has(f"{prefix}.{number}"):
            number += 1
        return number

    def model(self, inputs: Sequence[Value], outputs: Sequence[Value]) -> onnx.ModelProto:
        """Return the whole, checked, with the shapes of all values.

        Raises:
            onnx.checker.ValidationError: It is no valid graph, which is a mistake of ours.
        """
        graph = helper.make_graph(
            self._nodes,
            PRODUCER,
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
        )
        model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        onnx.checker.check_model(model, full_check=True)
        return model


FLOAT, UINT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
