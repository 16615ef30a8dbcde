"""What must be settled before MindSpore is imported, or computes anything."""

import contextlib
import ctypes
import os

from train import mpirun
from train.native import library

_CAP = "ONEDNN_MAX_CPU_ISA"
_AVX2 = 0x7  # dnnl_cpu_isa_avx2


def set_defaults() -> None:
    """Sets what is not set yet: a user's own value wins."""
    try:
        library.load()
    except library.NativeUnavailable:
        # For plain NCHW tensors, all that MindSpore's own convolutions know, oneDNN picks a
        # reference kernel on processors with AVX-512, a hundred times slower than the AVX2 kernel
        # of the same library. Other processors and devices ignore the cap.
        os.environ.setdefault(_CAP, "AVX2")
    # MindSpore warns of every graph that it does not find on disk, and of every one that it does
    # (train/graph_cache.py). Errors still come through.
    os.environ.setdefault("MS_SUBMODULE_LOG_v", "{PIPELINE:3}")
    mpirun.hide_what_does_not_hold(os.environ)


def cap_instructions() -> None:
    """The same cap where it turns out later that MindSpore's own convolutions are used.

    For this process only, and before oneDNN computes anything.
    """
    if _CAP not in os.environ:
        with contextlib.suppress(library.NativeUnavailable):
            ctypes.CDLL(str(library.onednn())).dnnl_set_max_cpu_isa(_AVX2)
