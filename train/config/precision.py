"""The floating types that a step can compute in, and that its gradients can travel in.

MindSpore is not imported here: a configuration is read before it.
"""

from typing import Literal

Precision = Literal["float32", "float16", "bfloat16"]

BYTES: dict[Precision, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
