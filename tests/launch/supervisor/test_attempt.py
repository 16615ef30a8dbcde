"""Real processes: who fails first, who gets which signal, and that nothing is left."""

import os
import signal
from pathlib import Path

import pytest

from tests.launch.script_jobs import ScriptJob

SLEEP = "note(f'up{rank}'); time.sleep(600)\n"


def test_success_passes_output_of_rank_0_and_logs_the_rest(job: ScriptJob) -> None:
    code, out, err = job.start(
        "print('out', rank, flush=True); print('err', rank, file=sys.stderr)",
        scheduler="print('scheduling')",
    ).finish()
    logs = job.run_dir / "logs" / "attempt_0"
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"starting 2 ranks, logs in {logs}", "out 0"]
    assert (logs / "worker_0.log").read_text() == "err 0\n"
    assert sorted((logs / "worker_1.log").read_text().splitlines()) == ["err 1", "out 1"]
    assert (logs / "scheduler.log").read_text() == "scheduling\n"


def test_first_failure_is_first_by_time_not_by_number(job: ScriptJob) -> None:
    code, _, err = job.start(
        """
        def fail(*_): sys.exit(5)
        signal.signal(signal.SIGTERM, fail)
        note(f"up{rank}")
        if rank == 2:
            while not ((notes / "up0").exists() and (notes / "up1").exists()): time.sleep(0.01)
            sys.exit(7)
        time.sleep(600)
        """,
        nproc=3,
    ).finish()
    assert code == 7
    assert "rank 2 failed first: exit code 7" in err
    job.assert_all_gone()


def test_report_shows_the_traceback_and_the_log(job: ScriptJob) -> None:
    code, _, err = job.start(
        """
        if rank == 1:
            print("[WARNING] DISTRIBUTED(1,7f,python):2026-01-01 noise", file=sys.stderr)
            raise RuntimeError("no such luck")
        time.sleep(600)
        """
    ).finish()
    assert code == 1
    assert "Traceback (most recent call last):" in err
    assert "RuntimeError: no such luck" in err
    assert "noise" not in err
    assert str(job.run_dir / "logs" / "attempt_0" / "worker_1.log") in err


def test_user_error_of_a_rank_passes_as_one_line(job: ScriptJob) -> None:
    code, _, err = job.start(
        """
        if rank == 1:
            print("some warning\\nerror: config.yaml: lr: must be above 0", file=sys.stderr)
            sys.exit(2)
        time.sleep(600)
        """
    ).finish()
    assert (code, err) == (2, "error: config.yaml: lr: must be above 0\n")
    job.assert_all_gone()


def test_exit_code_2_without_such_a_line_is_a_failure_like_others(job: ScriptJob) -> None:
    code, _, err = job.start("print('usage: x', file=sys.stderr); sys.exit(2)", nproc=1).finish()
    assert code == 2
    assert "rank 0 failed first: exit code 2" in err
    assert "usage: x" in err


def test_death_by_signal_takes_the_job_down(job: ScriptJob) -> None:
    job.start(
        """
        note(f"up{rank}")
        if rank == 1:
            while not (notes / "up0").exists(): time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
        """
    )
    code, _, err = job.finish(seconds=30)
    assert code == 128 + signal.SIGKILL
    assert "rank 1 failed first: killed by SIGKILL" in err
    job.assert_all_gone()


def test_failure_kills_ranks_that_ignore_being_asked(job: ScriptJob) -> None:
    code, _, _ = job.start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        note(f"up{rank}")
        if rank == 0:
            while not (notes / "up1").exists(): time.sleep(0.01)
            sys.exit(3)
        time.sleep(600)
        """
    ).finish(seconds=30)
    assert code == 3
    job.assert_all_gone()


def test_failing_scheduler_takes_the_job_down(job: ScriptJob) -> None:
    code, _, err = job.start(SLEEP, scheduler="raise SystemExit('no tcp server')").finish()
    assert code == 1
    assert "scheduler failed first" in err
    assert "no tcp server" in err
    job.assert_all_gone()


def test_rank_that_ends_well_does_not_end_the_others(job: ScriptJob) -> None:
    code, _, _ = job.start(
        """
        if rank == 1:
            while (pid := (notes / "pid0")) and not pid.exists(): time.sleep(0.01)
            while Path("/proc", pid.read_text(), "stat").exists(): time.sleep(0.01)
            note("outlived")
        else:
            note("pid0", os.getpid())
        """,
        scheduler="pass",
    ).finish()
    # Rank 1 only ends when rank 0 is gone, collected.
    assert code == 0
    assert (job.notes / "outlived").exists()


@pytest.mark.slow
def test_scheduler_that_does_not_end_is_no_failure(job: ScriptJob) -> None:
    code, _, err = job.start("pass").finish(seconds=30)
    assert (code, err) == (0, "")
    job.assert_all_gone()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_reaches_all_and_leaves_nothing(job: ScriptJob, number: signal.Signals) -> None:
    job.start(
        """
        def stop(number, _): note(f"got{rank}", number); sys.exit(0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP): signal.signal(number, stop)
        """
        + SLEEP
    )
    job.await_notes("up0", "up1")
    job.process.send_signal(number)
    code, out, err = job.finish()
    assert (code, err) == (128 + number, "") and "is not saved" not in out
    assert [(job.notes / f"got{rank}").read_text() for rank in (0, 1)] == [str(int(number))] * 2
    job.assert_all_gone()


def test_workers_ignoring_sigterm_are_killed_after_the_grace(job: ScriptJob) -> None:
    job.start("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP, grace=0.5)
    job.await_notes("up0", "up1")
    job.process.terminate()
    code, out, _ = job.finish(seconds=30)
    assert code == 143
    assert "what they have done since the newest checkpoint is not saved" in out
    job.assert_all_gone()


def test_second_interrupt_does_not_wait_for_the_grace(job: ScriptJob) -> None:
    job.start(
        """
        def stop(*_): note(f"got{rank}")
        signal.signal(signal.SIGINT, stop)
        note(f"up{rank}")
        while True: time.sleep(0.1)
        """,
        grace=600,
    )
    job.await_notes("up0", "up1")
    job.process.send_signal(signal.SIGINT)
    job.await_notes("got0", "got1")
    job.process.send_signal(signal.SIGINT)
    code, _, _ = job.finish()
    assert code == 130
    job.assert_all_gone()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_what_was_ignored_at_the_start_stays_so(job: ScriptJob, number: signal.Signals) -> None:
    """As nohup and the background jobs of a shell ask for it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        job.start(
            "note(f'up{rank}')\nwhile not (notes / 'done').exists(): time.sleep(0.01)",
            scheduler="pass",
        )
    finally:
        signal.signal(number, before)
    job.await_notes("up0", "up1")
    job.process.send_signal(number)
    (job.notes / "done").touch()
    code, out, err = job.finish()
    assert (code, err) == (0, "") and "the ranks save" not in out


def test_scheduler_serves_until_the_workers_have_gone(job: ScriptJob) -> None:
    """Saving on a signal takes collectives, and those take the scheduler."""
    job.start(
        """
        def stop(*_):
            time.sleep(0.5)
            pid = int((notes / "scheduler").read_text())
            # A process that has ended but is not collected has an empty command line.
            note(f"scheduler{rank}", Path(f"/proc/{pid}/cmdline").read_bytes() != b"")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        """
        + SLEEP,
        scheduler="""
        import os, pathlib, time
        notes = pathlib.Path(os.environ["TEST_NOTES"])
        (notes / "new").write_text(str(os.getpid()))
        (notes / "new").rename(notes / "scheduler")
        time.sleep(600)
        """,
    )
    job.await_notes("up0", "up1", "scheduler")
    job.process.terminate()
    assert job.finish()[0] == 143
    assert [(job.notes / f"scheduler{rank}").read_text() for rank in (0, 1)] == ["True"] * 2
    job.assert_all_gone()


def test_kill_9_of_the_launcher_leaves_nothing(
    job: ScriptJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    job.start("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP)
    job.await_notes("up0", "up1")
    job.process.kill()
    job.assert_all_gone()
    # Nobody is left to remove the launcher's folder but the next start.
    assert len(list(temporary.iterdir())) == 1
    # That of a rank is removed at the end, whatever the rank does.
    leaves = "import tempfile; tempfile.mkdtemp(); os._exit(4)"
    assert job.start(leaves, nproc=1).finish()[0] == 4
    assert not list(temporary.iterdir())


def test_helpers_of_a_dead_rank_are_killed(job: ScriptJob) -> None:
    code, _, _ = job.start(
        """
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        os._exit(4)
        """,
        nproc=1,
    ).finish()
    assert code == 4
    job.assert_all_gone()


def test_ranks_have_their_own_cores_and_batch_scheduling(job: ScriptJob) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    code, _, _ = job.start(
        "note(f'cores{rank}', (os.sched_getaffinity(0), os.sched_getscheduler(0)))",
        scheduler="pass",
    ).finish()
    assert code == 0
    (first, policy), (second, _) = (
        eval((job.notes / f"cores{rank}").read_text()) for rank in (0, 1)
    )
    assert first
    assert not first & second
    assert policy == os.SCHED_BATCH


def test_requests_are_held_back_from_the_first_moment_of_a_rank(job: ScriptJob) -> None:
    """They would end it until it has imported what blocks them."""
    worker = "print(*sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))), flush=True)"
    code, out, _ = job.start(worker, nproc=1).finish()
    assert code == 0
    assert out.splitlines()[-1] == f"{signal.SIGQUIT:d} {signal.SIGUSR1:d}"


def test_process_that_cannot_be_started(job: ScriptJob) -> None:
    job.start("pass", scheduler="pass", worker_command=["/nowhere/python"])
    _, _, err = job.finish()
    last = err.splitlines()[-1]  # the driver of these tests shows the mistake as a traceback
    assert "rank 0 cannot be started: /nowhere/python: " in last
    job.assert_all_gone()


def test_every_attempt_has_its_own_log_folder(job: ScriptJob) -> None:
    for _ in range(3):
        assert job.start("print('hello', file=sys.stderr)", nproc=1).finish()[0] == 0
    logs = [job.run_dir / "logs" / f"attempt_{k}" / "worker_0.log" for k in range(3)]
    assert [log.read_text() for log in logs] == ["hello\n"] * 3
    assert len(list((job.run_dir / "logs").iterdir())) == 3
