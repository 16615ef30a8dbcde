"""Ports: free ones, and those on which the launchers of several nodes agree without talking."""

import errno
import random
import socket
import zlib
from collections.abc import Mapping

from launch.job import Job
from train.environment import whole_number
from train.errors import UserError

# Below what kernels hand out to outgoing connections (from 32768), so that no other program's
# connection takes the port between our look and the scheduler's start; above HCCL's 16666.
_LOWEST, _HIGHEST = 20000, 32000


def wanted(job: Job, environment: Mapping[str, str]) -> int | None:
    """Return the port the user wants for MindSpore's scheduler, None if any will do.

    Raises:
        UserError: It is none.
    """
    text = environment.get("MS_SCHED_PORT")
    if job.master_port is not None or not text:
        return job.master_port
    port = whole_number(environment, "MS_SCHED_PORT")
    if port is None or not 1024 <= port <= 65535:
        raise UserError(f"the variable MS_SCHED_PORT is {text!r}, not a port from 1024 to 65535")
    return port


def scheduler_address(
    job: Job, environment: Mapping[str, str], host: str | None = None, attempt: int = 0
) -> tuple[str, str]:
    """Return host and port of MindSpore's scheduler on this machine: a new port for every attempt.

    ``host`` is the address by which other nodes reach this machine, None if there are none.

    Raises:
        UserError: The port the user wants is none or taken, or none can be had.
    """
    host = host or environment.get("MS_SCHED_HOST") or "127.0.0.1"
    port = wanted(job, environment)
    return host, str(choose(host, None if port is None else port + attempt))


def choose(host: str, port: int | None) -> int:
    """Return the wanted port if it is free, or any free one.

    Raises:
        UserError: The wanted port is taken, or none can be had on this host.
    """
    if port is not None:
        problem = _problem(host, port)
        if problem == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is taken; choose another with --master-port, "
                "or leave it out to get a free one"
            )
        if problem:
            raise UserError(f"cannot listen on {host}:{port}: {errno.errorcode[problem]}")
        return port
    for _ in range(100):
        port = random.randint(_LOWEST, _HIGHEST)
        if not (problem := _problem(host, port)):
            return port
        if problem != errno.EADDRINUSE:
            break
    raise UserError(f"found no port to listen on at {host}")


def of_job(environment: Mapping[str, str], unnamed: int = 0) -> int:
    """Return the port that all nodes of a job derive from its name, or from a number without one.

    Every task of a Slurm array has a number of its own, so tasks do not collide.
    """
    variable = next((name for name in ("MTLN_JOB_ID", "SLURM_JOB_ID") if environment.get(name)), "")
    number = whole_number(environment, variable)
    if number is None:
        name = environment.get(variable)
        number = zlib.crc32(name.encode()) if name else unnamed
    return _LOWEST + number % (_HIGHEST - _LOWEST)


def _problem(host: str, port: int) -> int:
    """Return the error number of listening there, 0 if it works."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            # A port that only waits for the end of an old connection is free for a server.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def is_own_address(address: str) -> bool:
    """Return whether an IP address is one of this machine's."""
    return _problem(address, 0) == 0
