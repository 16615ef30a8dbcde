"""Starts the probe, and around it what a job of several ranks needs."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_PROBE_SECONDS = 1800
_ROOT = Path(__file__).resolve().parents[2]


def run_probe(
    config: Path, out: Path, output: Path, variables: Mapping[str, str], ranks: int
) -> str | None:
    """Run the probe as rank 0 of some ranks; return why it came to no end, or None.

    Args:
        config: The configuration, a file.
        out: Where the probe writes its facts.
        output: Where everything goes that it prints.
        variables: What its environment has on top of this process's.
        ranks: Number of ranks. The others join and do no more.
    """
    paths = [str(_ROOT), variables.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))]
    environment = {**os.environ, **variables, "PYTHONPATH": ":".join(filter(None, paths))}
    arguments = ["tools.ascend_check.probe", str(config), str(out)]
    with output.open("wb") as file:
        if ranks == 1:
            return _end_of(_start(arguments, file.fileno(), environment))
        with _others(ranks, file.fileno(), environment) as cluster:
            return _end_of(_start(arguments, file.fileno(), {**environment, **cluster(0)}))


@contextmanager
def _others(
    ranks: int, output: int, environment: Mapping[str, str]
) -> Iterator[Callable[[int], dict[str, str]]]:
    """Run the scheduler and all ranks but the first; yield the function of a rank's variables."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def variables(rank: int | None) -> dict[str, str]:
        shared = {
            "MS_WORKER_NUM": str(ranks),
            "MS_SCHED_HOST": "127.0.0.1",
            "MS_SCHED_PORT": port,
            "MS_NODE_TIMEOUT": "1800",
        }
        if rank is None:
            return {**shared, "MS_ROLE": "MS_SCHED"}
        number = str(rank)
        own = {"MS_NODE_ID": number, "RANK_ID": number, "DEVICE_ID": number}
        return {**shared, **own, "MS_ROLE": "MS_WORKER", "RANK_SIZE": str(ranks)}

    modules = {None: "launch.scheduler"} | dict.fromkeys(range(1, ranks), f"{__package__}.partner")
    started = [
        _start([module], output, {**environment, **variables(rank)})
        for rank, module in modules.items()
    ]
    try:
        yield variables
    finally:
        for process in started:
            process.kill()
            process.wait()


def _start(
    module: list[str], output: int, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", *module],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(environment),
    )


def _end_of(process: "subprocess.Popen[bytes]") -> str | None:
    try:
        code = process.wait(_PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no end within {_PROBE_SECONDS} s"
    finally:
        process.kill()
        process.wait()
    return None if code == 0 else f"ended with exit code {code}"
