"""Ports that are wanted, free ones, and those that all nodes of a job derive from its name."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.job import Job
from launch.plan import ports
from train.errors import UserError

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def job(port: int | None = None) -> Job:
    return Job(["true"], Path("run"), master_port=port)


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ({}, 20_007),
        ({"SLURM_JOB_ID": "12345"}, 20_345),
        ({"MTLN_JOB_ID": "12", "SLURM_JOB_ID": "34"}, 20_012),
        ({"MTLN_JOB_ID": "", "SLURM_JOB_ID": "34"}, 20_034),
    ],
)
def test_all_nodes_derive_one_port_from_the_number_of_the_job(
    environment: dict[str, str], port: int
) -> None:
    """The one that is given to the job itself goes before that of its allocation."""
    assert ports.of_job(environment, 7) == port


def test_names_of_jobs_have_ports_too() -> None:
    found = {name: ports.of_job({"MTLN_JOB_ID": name}, 7) for name in ("a", "b", "job-a")}
    assert len({*found.values(), 20_007}) == 4
    assert all(20_000 <= port < 32_000 for port in found.values())


@pytest.mark.parametrize("text", ["1023", "65536", "0", "-1", "x"])
def test_what_is_no_port(text: str) -> None:
    with pytest.raises(UserError, match=f"MS_SCHED_PORT is '{text}', not a port from 1024"):
        ports.wanted(job(), {"MS_SCHED_PORT": text})
    assert ports.wanted(job(2000), {"MS_SCHED_PORT": text}) == 2000


def test_ports_that_are_wanted() -> None:
    for port in (1024, 65535):
        assert ports.wanted(job(), {"MS_SCHED_PORT": str(port)}) == port
    assert ports.wanted(job(), {"MS_SCHED_PORT": ""}) is None


def test_a_port_that_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused where it is wanted; where any will do, another one is tried."""
    with pytest.raises(UserError, match=f"port {taken} on {HOST} is taken"):
        ports.choose(HOST, taken)
    tried = iter([taken, taken, taken + 1, taken + 2, taken + 3])
    monkeypatch.setattr(random, "randint", lambda low, high: next(tried))
    assert taken < ports.choose(HOST, None) <= taken + 3


def test_a_host_that_is_not_here() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(UserError, match=f"no port to listen on at {host}"):
            ports.choose(host, None)
