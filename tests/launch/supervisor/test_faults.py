"""Jobs that fail while they start; what hits them later is the drill's (tests/tools/drill)."""

from pathlib import Path
from typing import Any

import pytest

from tests.launch.script_jobs import ScriptJob
from tests.launch.training_jobs import TrainingJob, write_job
from tests.marked import Marked

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_rank_that_never_comes_up(
    one_task_tree: dict[str, Any], started: list[Marked], tmp_path: Path
) -> None:
    """Its interpreter fails at once, and the other waits for it to join."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if os.environ.get('MS_NODE_ID') == '1':\n"
        "    print('this interpreter is broken', file=sys.stderr, flush=True)\n"
        "    os._exit(9)\n"
    )
    config = write_job(tmp_path, one_task_tree, steps=4, consolidate_every=2)
    job = TrainingJob(config, tmp_path / "run", "nproc=2", PYTHONPATH=str(tmp_path))
    started.append(job)
    code, _, err = job.finish()
    assert code == 9
    assert "rank 1 failed first: exit code 9" in err
    assert "this interpreter is broken" in err
    job.assert_all_gone()


def test_port_that_is_taken_in_the_last_moment(job: ScriptJob) -> None:
    """By another program, between the launcher's look and the scheduler's start."""
    code, _, err = job.start(
        "time.sleep(600)",
        scheduler="""
        import os, socket
        address = os.environ["MS_SCHED_HOST"], int(os.environ["MS_SCHED_PORT"])
        other = socket.create_server(address)
        from launch.scheduler import main
        main()
        """,
    ).finish(seconds=300)
    assert code == 1
    assert "scheduler failed first: exit code 1" in err
    assert "hint: the port of MindSpore's scheduler is taken" in err
    job.assert_all_gone()
