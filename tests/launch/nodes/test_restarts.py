"""Starting a job again, and knowing when not to."""

import signal

import pytest

from launch.nodes.leader import pause, reason_to_give_up
from launch.supervisor.failure_report import Cause
from tests.launch.script_jobs import ScriptJob

# Fails the first time it runs, in the way that {failure} says.
FAILS_ONCE = """
beat = os.environ["MTLN_HEARTBEAT"]
attempts = len(list(notes.glob(f"rank{rank}_*")))
note(f"rank{rank}_{attempts}", os.environ.get("MS_SCHED_PORT"))
Path(beat).write_text(f"{10 * attempts} step 1")
if attempts < FAILURES and rank == 1:
    while not (notes / f"rank0_{attempts}").exists(): time.sleep(0.01)
    raise RuntimeError(f"lost a wheel {attempts if VARIES else ''}")
"""


def fails(times: int, varies: bool = False) -> str:
    return FAILS_ONCE.replace("FAILURES", str(times)).replace("VARIES", str(varies))


def cause(error: str = "x", step: int | None = 1, final: bool = False) -> Cause:
    return Cause("text", 1, error, step, final)


def test_starts_again_with_a_new_port_and_log_folder(job: ScriptJob) -> None:
    job.start(fails(1), scheduler="pass", max_restarts=2)
    code, out, err = job.finish()
    assert code == 0, err
    assert "RuntimeError: lost a wheel" in err
    assert err.rstrip().endswith("starting again in 1 s (restart 1 of 2)")
    assert [line for line in out.splitlines() if line.startswith("starting 2 ranks")] == [
        f"starting 2 ranks, logs in {job.run_dir}/logs/attempt_{k}" for k in (0, 1)
    ]
    first, second = ((job.notes / f"rank0_{k}").read_text() for k in (0, 1))
    assert first != second
    job.assert_all_gone()


def test_port_of_the_user_counts_on(job: ScriptJob, free_port: int) -> None:
    job.start(fails(1), scheduler="pass", max_restarts=1, master_port=free_port)
    assert job.finish()[0] == 0
    ports = [int((job.notes / f"rank0_{k}").read_text()) for k in (0, 1)]
    assert ports == [free_port, free_port + 1]


def test_gives_up_after_the_last_restart(job: ScriptJob) -> None:
    job.start(fails(9, varies=True), scheduler="pass", max_restarts=1)
    code, _, err = job.finish()
    assert code == 1
    assert err.rstrip().endswith("not started again: that was the last of 1 restarts")
    assert len(list(job.notes.glob("rank1_*"))) == 2


def test_same_error_at_the_same_step_is_not_tried_a_third_time(job: ScriptJob) -> None:
    """The step is that of the rank that had come farthest."""
    worker = """
    Path(os.environ["MTLN_HEARTBEAT"]).write_text("7 step 7" if rank else "3 step 3")
    note(f"run{rank}_{time.time_ns()}")
    while len(list(notes.glob("run0*"))) < len(list(notes.glob("run1*"))): time.sleep(0.01)
    if rank: os._exit(5)
    time.sleep(600)
    """
    code, _, err = job.start(worker, max_restarts=9).finish()
    assert code == 5
    assert err.rstrip().endswith("not started again: it failed twice at step 7 with the same error")
    assert len(list(job.notes.glob("run1*"))) == 2


def test_mistake_of_the_user_is_not_tried_again(job: ScriptJob) -> None:
    worker = "note(f'run{time.time_ns()}'); print('error: no such key', file=sys.stderr); exit(2)"
    code, _, err = job.start(worker, nproc=1, max_restarts=9).finish()
    assert (code, err) == (2, "error: no such key\n")
    assert len(list(job.notes.glob("run*"))) == 1


def test_signal_ends_the_pause(job: ScriptJob) -> None:
    job.start("os._exit(5)", nproc=1, max_restarts=3)
    assert job.process.stderr is not None
    while "starting again in 1 s (restart 1 of 3)" not in job.process.stderr.readline():
        assert job.process.poll() is None
    job.process.send_signal(signal.SIGTERM)
    assert job.finish(seconds=30)[0] == 143
    assert not (job.run_dir / "logs/attempt_1").exists()
    job.assert_all_gone()


@pytest.mark.parametrize(
    ("death", "expected", "says"),
    [("os._exit(5)", 5, "rank 0 failed first: exit code 5"), ("os.kill(os.getpid(), 15)", 143, "")],
)
def test_signal_while_a_failed_job_is_ended(
    job: ScriptJob, death: str, expected: int, says: str
) -> None:
    """There is no restart; and no failure, where a rank has died of that very signal."""
    worker = """
    def asked(*_):
        note("asked")
        while not (notes / "sent").exists(): time.sleep(0.01)
        sys.exit()
    signal.signal(signal.SIGTERM, asked if rank else signal.SIG_DFL)
    note(f"up{rank}")
    while not (notes / "up1").exists(): time.sleep(0.01)
    if rank == 0: DEATH
    time.sleep(600)
    """
    job.start(worker.replace("DEATH", death), max_restarts=3)
    job.await_notes("asked")
    job.process.send_signal(signal.SIGTERM)
    (job.notes / "sent").touch()
    code, out, err = job.finish()
    assert code == expected and err.startswith(says) and bool(err) == bool(says)
    assert "starting again" not in err and out.count("starting") == 1
    job.assert_all_gone()


@pytest.mark.slow
def test_hang_leaves_stacks_in_the_logs_and_counts_as_a_death(job: ScriptJob) -> None:
    worker = """
    import faulthandler
    faulthandler.register(signal.SIGQUIT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGQUIT,))
    def stands_here():
        time.sleep(600)
    for step in range(5):
        Path(os.environ["MTLN_HEARTBEAT"]).write_text(f"{step} step {step}")
        time.sleep(0.3)
    stands_here()
    """
    job.start(worker, hang_timeout=1.0)
    code, _, err = job.finish()
    assert code == 124
    assert "no rank made progress for 1 s:\n  ranks 0-1: in step 5\n" in err
    for rank in (0, 1):
        log = (job.run_dir / "logs/attempt_0" / f"worker_{rank}.log").read_text()
        assert "in stands_here" in log
    job.assert_all_gone()


@pytest.mark.slow
def test_signal_while_ranks_that_hang_write_their_stacks(job: ScriptJob) -> None:
    """It is not forgotten in the seconds that this takes: there is no restart."""
    worker = """
    signal.signal(signal.SIGQUIT, lambda *_: note(f"asked{rank}"))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGQUIT,))
    note(f"up{rank}")
    while True: time.sleep(0.1)
    """
    job.start(worker, hang_timeout=1.0, max_restarts=1)
    job.await_notes("asked0", "asked1")
    job.process.send_signal(signal.SIGTERM)
    code, out, err = job.finish()
    assert code == 124 and "starting again" not in err and out.count("starting") == 1
    job.assert_all_gone()


@pytest.mark.slow
def test_no_hang_as_long_as_one_rank_gets_on(job: ScriptJob) -> None:
    worker = """
    for step in range(8 if rank else 1):
        Path(os.environ["MTLN_HEARTBEAT"]).write_text(f"{step} step {step}")
        time.sleep(0.4)
    """
    code, _, err = job.start(worker, scheduler="pass", hang_timeout=1.5).finish()
    assert (code, err) == (0, "")


def test_without_a_limit_nothing_counts_as_a_hang(job: ScriptJob) -> None:
    """Heartbeats that never change, for longer than the launcher's look at them."""
    code, _, err = job.start("time.sleep(0.8)", scheduler="pass", hang_timeout=0.0).finish()
    assert (code, err) == (0, "")


@pytest.mark.parametrize(("ends_with", "told"), [(3, 3), (0, 1)])
def test_first_is_who_failed_first_not_who_ended_first(
    job: ScriptJob, ends_with: int, told: int
) -> None:
    """Rank 1 fails, but takes its time to end, and may end well; rank 0 dies of it."""
    worker = """
    import json
    if rank == 1:
        record = {"time": time.time(), "message": "ValueError: the reason", "code": 1}
        Path(os.environ["MTLN_ERROR"]).write_text(json.dumps(record))
        print("Traceback (most recent call last):", "ValueError: the reason", sep="\\n",
              file=sys.stderr, flush=True)
        note("failed")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1.0)
        os._exit(ENDS_WITH)
    while not (notes / "failed").exists(): time.sleep(0.01)
    raise RuntimeError("lost my peer")
    """
    code, _, err = job.start(worker.replace("ENDS_WITH", str(ends_with))).finish()
    assert code == told
    assert err.startswith(f"rank 1 failed first: exit code {told}")
    assert "ValueError: the reason" in err
    assert "lost my peer" not in err


def test_mistake_stays_one_though_its_rank_is_killed_before_it_ends(job: ScriptJob) -> None:
    worker = """
    import json
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if rank == 1:
        record = {"time": time.time(), "message": "UserError: too much", "code": 2}
        Path(os.environ["MTLN_ERROR"]).write_text(json.dumps(record))
        print("error: too much", file=sys.stderr, flush=True)
        note("failed")
        time.sleep(600)
    while not (notes / "failed").exists(): time.sleep(0.01)
    raise RuntimeError("lost my peer")
    """
    code, _, err = job.start(worker).finish()
    assert (code, err.splitlines()[0]) == (2, "error: too much")


@pytest.mark.parametrize(
    ("causes", "restarts", "expected"),
    [
        ([cause()], 0, ""),
        ([cause()], 1, None),
        ([cause(), cause(step=2)], 1, "that was the last of 1 restarts"),
        ([cause(), cause(step=2)], 2, None),
        ([cause(), cause()], 5, "it failed twice at step 1 with the same error"),
        ([cause(), cause("y"), cause()], 5, "it failed twice at step 1 with the same error"),
        ([cause(step=None)] * 2, 5, "it failed twice before the first step with the same error"),
        ([cause("x"), cause("y")], 5, None),
        ([cause(final=True)], 5, ""),
    ],
)
def test_reason_to_give_up(causes: list[Cause], restarts: int, expected: str | None) -> None:
    assert reason_to_give_up(causes, restarts) == expected


def test_pause_grows_to_a_minute() -> None:
    assert [pause(k) for k in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
