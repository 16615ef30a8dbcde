"""A job from its description to its exit code."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch import failure, ports, supervisor
from launch.arguments import DEFAULT_GRACE_SECONDS
from launch.devices import Machine, this_machine
from launch.errors import USER_ERROR_EXIT_CODE, UserError
from launch.plan import Process, make_plan, render, scheduler_host

_SHOW_CURSOR = "\x1b[?25h"


@dataclass(frozen=True)
class Job:
    """What is to run.

    Attributes:
        worker_command: what every rank runs.
        run_dir: the run folder; the logs go to its ``logs`` folder.
        nproc: number of ranks, None for one per device.
        master_port: port of the scheduler, None for a free one.
        grace: seconds between passing a signal on and killing what is left.
        scheduler_command: what the scheduler of a job of several ranks runs.
    """

    worker_command: Sequence[str]
    run_dir: Path
    nproc: int | None = None
    master_port: int | None = None
    grace: float = DEFAULT_GRACE_SECONDS
    scheduler_command: Sequence[str] = (sys.executable, "-m", "launch.scheduler")


def plan_job(job: Job, machine: Machine) -> list[Process]:
    """Plans a job for a machine.

    Raises:
        UserError: the machine cannot run it.
    """
    nproc = machine.default_world_size if job.nproc is None else job.nproc
    if machine.npus and nproc > machine.npus:
        raise UserError(f"nproc is {nproc}, but this machine has {machine.npus} NPUs")
    port = 0
    if nproc > 1:
        port = ports.choose(scheduler_host(os.environ), job.master_port or _port_of_user())
    return make_plan(job.worker_command, job.scheduler_command, nproc, port, machine, os.environ)


def _port_of_user() -> int | None:
    text = os.environ.get("MS_SCHED_PORT", "")
    if not text:
        return None
    if not (text.isdecimal() and 1024 <= int(text) <= 65535):
        raise UserError(f"the variable MS_SCHED_PORT is {text!r}, not a port from 1024 to 65535")
    return int(text)


def print_plan(job: Job) -> int:
    """Prints who would run where with which variables; starts and creates nothing."""
    plan = plan_job(job, this_machine())
    print(render(plan, _next_attempt(job.run_dir)))
    return 0


def run_job(job: Job) -> int:
    """Runs a job and returns the exit code of the launcher.

    Raises:
        UserError: it cannot be started.
    """
    plan = plan_job(job, this_machine())
    log_dir = _make_attempt(job.run_dir)
    ranks = sum(process.rank is not None for process in plan)
    print(f"starting {ranks} {'rank' if ranks == 1 else 'ranks'}, logs in {log_dir}", flush=True)
    outcome = supervisor.run(plan, log_dir, job.grace)
    return _conclude(outcome, log_dir)


def _conclude(outcome: supervisor.Outcome, log_dir: Path) -> int:
    if outcome.signal_number is None and outcome.failure is None:
        return 0
    if sys.stdout.isatty():
        # Killed while it drew its progress, rank 0 leaves the cursor hidden.
        print(_SHOW_CURSOR, end="", flush=True)
    if outcome.signal_number is not None:
        return 128 + outcome.signal_number
    assert outcome.failure is not None
    if line := failure.user_error(outcome.failure, log_dir):
        _say(line)
        return USER_ERROR_EXIT_CODE
    _say(failure.report(outcome.failure, log_dir))
    return failure.exit_code(outcome.failure)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _next_attempt(run_dir: Path) -> Path:
    attempt = 0
    while (run_dir / "logs" / f"attempt_{attempt}").exists():
        attempt += 1
    return run_dir / "logs" / f"attempt_{attempt}"


def _make_attempt(run_dir: Path) -> Path:
    """Makes the log folder of this attempt; the logs of earlier ones stay.

    Raises:
        UserError: the run folder cannot be written.
    """
    while True:
        folder = _next_attempt(run_dir)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if not folder.is_dir():
                raise UserError(f"run folder {run_dir}: {folder.parent} is not a folder") from None
            continue  # another launcher was quicker: take the next number
        except OSError as error:
            raise UserError(f"cannot write run folder {run_dir}: {error.strerror}") from None
        return folder
