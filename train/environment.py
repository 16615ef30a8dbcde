"""Environment variables that must be settled before MindSpore is imported."""

import os

from train import mpirun

# oneDNN picks a reference convolution for plain NCHW tensors on processors with AVX-512, a
# hundred times slower than the AVX2 kernel of the same library. Other processors and devices
# ignore the cap.
_DEFAULTS = {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def set_defaults() -> None:
    """Sets what is not set yet: a user's own value wins."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    mpirun.hide_what_does_not_hold(os.environ)
