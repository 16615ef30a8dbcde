"""Node 0, of several or alone: decides on attempts, and says how the job has ended."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from launch.last_upload import upload_rest
from launch.log_folders import claim_attempt, log_folder
from launch.nodes.member_links import MemberLinks
from launch.plan import ports
from launch.plan.placement import Placement
from launch.plan.processes import World
from launch.supervisor.attempt import Ended, run_attempt
from launch.supervisor.child_process import Signals
from launch.supervisor.failure_report import Cause, hang
from train.errors import UserError
from train.storage.run_mirror import noted_numbers


def lead(placement: Placement, signals: Signals) -> int:
    """Run the job and return the exit code of the launcher.

    Raises:
        UserError: It cannot be started.
    """
    job = placement.job
    began = time.time()
    with MemberLinks(placement) as members:
        if stop := members.gather(signals):
            return members.finish(128 + stop)
        code = upload_rest(job, _run(placement, signals, members), signals, began)
        members.finish(code, noted_numbers(job.run_dir))
        if job.upload_command is not None:
            members.wait_for_logs(signals)
    return code


def _run(placement: Placement, signals: Signals, members: MemberLinks) -> int:
    """Make attempts until one succeeds or there is no point in another; return the exit code."""
    most = placement.job.max_restarts
    causes: list[Cause] = []
    while True:
        ended = _attempt(placement, signals, members)
        if ended.cause is None:
            return 128 + ended.signal_number if ended.signal_number else 0
        causes.append(ended.cause)
        _say(ended.cause.text)
        give_up = reason_to_give_up(causes, most)
        if ended.signal_number:
            give_up = give_up or ""
        if give_up is not None:
            if give_up:
                _say(f"not started again: {give_up}")
            return ended.cause.exit_code
        seconds = pause(len(causes))
        _say(f"starting again in {seconds:g} s (restart {len(causes)} of {most})")
        stop = _sleep(seconds, signals)
        if stop is None and (min_nodes := placement.job.min_nodes) is not None:
            try:
                stop = members.gather_again(signals, min_nodes)
            except UserError as error:
                _say(f"not started again: {error}")
                return ended.cause.exit_code
        if stop:
            return 128 + stop


def reason_to_give_up(causes: Sequence[Cause], max_restarts: int) -> str | None:
    """Return why there is no further attempt, "" if that goes without saying, None if there is.

    The causes are those of all attempts so far, the last one at the end.
    """
    last = causes[-1]
    if last.is_final:
        return ""
    if max_restarts and any((c.step, c.error) == (last.step, last.error) for c in causes[:-1]):
        at = "before the first step" if last.step is None else f"at step {last.step}"
        return f"it failed twice {at} with the same error"
    if len(causes) > max_restarts:
        return f"that was the last of {max_restarts} restarts" if max_restarts else ""
    return None


def pause(restart: int) -> float:
    """Return the seconds to wait before a restart, counted from 1: 1, 2, 4 ... 60."""
    return min(2.0 ** (restart - 1), 60.0)


def _attempt(placement: Placement, signals: Signals, members: MemberLinks) -> Ended:
    job = placement.job
    size = placement.nproc + sum(member.nproc for member in members.all)
    world = World(size)
    if size > 1 and job.together:
        address = ports.scheduler_address(job, os.environ, members.address, members.attempts)
        world = World(size, address)
    attempt = claim_attempt(job.run_dir)
    ranks = "1 rank" if size == 1 else f"{size} ranks"
    nnodes = len(members.all) + 1
    where = f" on {nnodes} nodes" if nnodes > 1 else ""
    print(f"starting {ranks}{where}, logs in {log_folder(job.run_dir, attempt)}", flush=True)
    members.start(attempt, world)
    own = run_attempt(placement, attempt, 0, world, signals, members)
    ended = members.conclude(own, signals)
    if ended.cause is not None and ended.cause.hung:  # of all nodes now
        log_dir = log_folder(job.run_dir, attempt)
        ended = replace(ended, cause=hang(ended.cause.hung, job.hang_timeout, log_dir))
    return ended


def _sleep(seconds: float, signals: Signals) -> int | None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if stop := signals.wait(left):
            return stop
    return None


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
