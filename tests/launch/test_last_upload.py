"""When the launchers have results uploaded after the end of the ranks, and what that changes."""

import signal
import sys

import pytest

from tests.launch.script_jobs import ScriptJob

# Notes what it is told, and that it has begun.
UPLOAD = """
import os, sys, time
from pathlib import Path
notes = Path(os.environ["TEST_NOTES"])
since = sys.argv.index("--since") if "--since" in sys.argv else None
node = "first" if since else "other"
(notes / "new").write_text(sys.argv[since + 1] if since else "")
(notes / "new").rename(notes / f"upload_of_{node}")
"""


def upload(end: str = "") -> list[str]:
    """A program in the place of the upload, and how it goes on."""
    return [sys.executable, "-c", UPLOAD + end]


def test_after_a_rank_was_killed(job: ScriptJob) -> None:
    worker = "note('up0'); os.kill(os.getpid(), signal.SIGKILL)"
    job.start(worker, nproc=1, upload_command=upload())
    code, _, err = job.finish()
    assert code == 128 + signal.SIGKILL and "killed by SIGKILL" in err
    began = float((job.notes / "upload_of_first").read_text())
    assert began < (job.notes / "up0").stat().st_mtime
    job.assert_all_gone()


@pytest.mark.parametrize(
    ("worker", "end", "expected"),
    [
        ("pass", "", 0),
        ("pass", "sys.exit(1)", 1),  # the results have to be there, and are not
        ("sys.exit(7)", "sys.exit(1)", 7),
    ],
)
def test_exit_code(job: ScriptJob, worker: str, end: str, expected: int) -> None:
    job.start(worker, nproc=1, upload_command=upload(end))
    assert job.finish()[0] == expected
    assert (job.notes / "upload_of_first").exists()


def test_once_after_all_attempts(job: ScriptJob) -> None:
    worker = "note(f'run{time.time_ns()}'); sys.exit(7)"
    end = "assert len(list(notes.glob('run*'))) == 2"
    code, _, err = job.start(worker, nproc=1, max_restarts=1, upload_command=upload(end)).finish()
    assert code == 7, err
    assert (job.notes / "upload_of_first").exists()


def test_not_after_a_mistake_of_the_user(job: ScriptJob) -> None:
    worker = "print('error: no such key', file=sys.stderr); sys.exit(2)"
    job.start(worker, nproc=1, upload_command=upload())
    assert job.finish()[::2] == (2, "error: no such key\n")
    assert not (job.notes / "upload_of_first").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ctrl_c_ends_it_and_other_signals_do_not(job: ScriptJob, number: signal.Signals) -> None:
    end = "time.sleep(2 if {0} else 600); (notes / 'uploaded').touch()"
    end = end.format(number == signal.SIGTERM)
    job.start("pass", nproc=1, upload_command=upload(end))
    job.await_notes("upload_of_first")
    job.process.send_signal(number)
    code, _, _ = job.finish(seconds=30)
    assert (code == 0) == (number == signal.SIGTERM)
    assert (job.notes / "uploaded").exists() == (number == signal.SIGTERM)
    job.assert_all_gone()


def test_other_nodes_upload_their_logs_after_node_0(nodes: list[ScriptJob], free_port: int) -> None:
    """They are told then which number the attempt has in object storage, and are waited for."""
    note = "(Path({folder!r}) / 'logs/attempt_0/.number_there').write_text('5')"
    for number, node in enumerate(nodes[:2]):
        node.run_dir = node.folder / f"node{number}/run"  # nothing is shared
        end = note.format(folder=str(node.run_dir))
        if number == 1:
            end = (
                "assert (notes / 'upload_of_first').exists()\n"
                "time.sleep(1)\n"
                "(notes / 'uploaded').touch()\n"
            )
        place = {"nnodes": 2, "node_rank": number, "master": "127.0.0.1"}
        options = {"control_port": free_port, "scheduler": "pass", "upload_command": upload(end)}
        node.start("pass", nproc=1, **place, **options)
    code, _, err = nodes[0].finish()
    assert code == 0, err
    assert (nodes[0].notes / "uploaded").exists()
    assert nodes[1].finish()[0] == 0
    there = nodes[1].run_dir / "logs/attempt_0/.number_there"
    assert there.read_text() == "5"
