"""What is said of ranks that do not get on: what each is in, and which the others wait for."""

import os
import re

import pytest

from launch.supervisor.hang import RankState, describe, state_of
from launch.supervisor.rank_reports import Progress
from tests.launch.script_jobs import ScriptJob
from tests.paths import ROOT

# A rank like those of training: its heartbeat, and stacks on QUIT.
RANK = f"""
sys.path.insert(0, {str(ROOT)!r})
from train.process.health import Heartbeat, explain_crashes
from train.process.save import save_requests
from train.program.ending import exit_code
explain_crashes()
save_requests.listen()
heartbeat = Heartbeat(os.environ)
heartbeat.enter("step", 40)
heartbeat.enter("consolidation")
def wait(): time.sleep(600)
"""


def rank(number: int, phases: int = 9, **values: str) -> RankState:
    known = {"state": "S", "phase": "step", "frame": "", **values}
    return RankState(number, known["state"], 40, known["phase"], phases, known["frame"])


def test_stopped_rank_is_the_one_that_the_others_wait_for(job: ScriptJob) -> None:
    job.start(
        RANK + "if rank == 1: os.kill(os.getpid(), signal.SIGSTOP)\nexit_code(wait)\n",
        hang_timeout=1.0,
        nproc=3,
    )
    code, _, err = job.finish()
    assert code == 124
    lines = err.splitlines()
    assert lines[0] == "no rank made progress for 1 s:"
    place = "in the consolidation after step 40"
    assert re.fullmatch(
        rf"  ranks 0, 2: {place} \(train/program/ending.py:\d+, exit_code\), "
        "where they wait for rank 1",
        lines[1],
    )
    assert lines[2] == f"  rank 1: stopped (SIGSTOP), {place}"
    job.assert_all_gone()


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([rank(0), rank(1)], ["ranks 0-1: in step 41"]),
        (
            [rank(0), rank(1, 8, phase="data"), rank(2), rank(3)],
            [
                "ranks 0, 2-3: in step 41, where they wait for rank 1",
                "rank 1: in the loading of images for step 41",
            ],
        ),
        (
            # It was stopped where the others are; being behind is no more than a consequence.
            [rank(0, 7), rank(1, 7), rank(2, state="T")],
            [
                "ranks 0-1: in step 41, where they wait for rank 2",
                "rank 2: stopped (SIGSTOP), in step 41",
            ],
        ),
        (
            [rank(0, phase="checkpoint", state="D", frame="train/files.py:9, publish"), rank(1)],
            [
                "rank 1: in step 41, where it waits for rank 0",
                "rank 0: waits for the kernel (a disk, a network file system, a device), in the "
                "checkpoint of step 40 (train/files.py:9, publish)",
            ],
        ),
    ],
)
def test_description(ranks: list[RankState], expected: list[str]) -> None:
    assert describe(ranks) == expected


def test_frame_is_the_innermost_of_ours_in_the_main_thread() -> None:
    stacks = [
        "Current thread 0x00007f0 (most recent call first):",
        f'  File "{ROOT}/train/old.py", line 1 in old',
        "Thread 0x00007f1 (most recent call first):",
        f'  File "{ROOT}/train/data/loader.py", line 2 in read',
        "",
        "Current thread 0x00007f0 (most recent call first):",
        '  File "/usr/lib/python3/threading.py", line 3 in wait',
        f'  File "{ROOT}/train/trainer.py", line 4 in _train',
        f'  File "{ROOT}/train/__main__.py", line 5 in main',
    ]
    state = state_of(3, os.getpid(), Progress(7, "data", 9), stacks)
    assert state == RankState(3, state.state, 7, "data", 9, "train/trainer.py:4, _train")
    assert state.state in "RS"
    assert state_of(3, 2**22 + 1, Progress(7, "data", 9), []).state == "Z"
