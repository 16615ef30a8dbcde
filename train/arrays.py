"""Types of arrays that several rooms share. MindSpore is not imported here."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# By name.
Arrays = dict[str, Floats]
