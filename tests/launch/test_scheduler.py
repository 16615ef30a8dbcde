"""MindSpore's own dynamic cluster, brought up by the launcher."""

import pytest

from tests.launch.script_jobs import ScriptJob

WORKER = """
import numpy as np
import mindspore as ms
from mindspore import Tensor, ops
from mindspore.communication import get_group_size, get_rank, init

ms.set_device("CPU")
init()
assert (get_rank(), get_group_size()) == (rank, 2)
summed = ops.AllReduce()(Tensor(np.ones(4, np.float32) * (rank + 1))).asnumpy()
note(f"sum{rank}", summed.tolist())
ops.AllReduce()(Tensor(np.ones(1, np.float32))).asnumpy()  # nobody leaves early
"""


@pytest.mark.slow
@pytest.mark.cluster
def test_all_reduce_over_two_ranks(job: ScriptJob) -> None:
    job.start(WORKER, scheduler="from launch.scheduler import main; main()")
    code, _, err = job.finish(seconds=240)
    assert (code, err) == (0, "")
    for rank in (0, 1):
        assert (job.notes / f"sum{rank}").read_text() == "[3.0, 3.0, 3.0, 3.0]"
    job.assert_all_gone()
