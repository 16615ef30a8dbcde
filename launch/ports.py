"""Ports: free ones, and those on which the launchers of several nodes agree without talking."""

import errno
import random
import socket
import zlib
from collections.abc import Mapping

from train.errors import UserError

# Below what kernels hand out to outgoing connections (from 32768), so that no other program's
# connection takes the port between our look and the scheduler's start; above HCCL's 16666.
_LOWEST, _HIGHEST = 20000, 32000
_TRIES = 100

_JOB_IDS = ("MTLN_JOB_ID", "SLURM_JOB_ID")


def choose(host: str, wanted: int | None) -> int:
    """Returns the wanted port if it is free, or any free one.

    Raises:
        UserError: the wanted port is taken, or none can be had on this host.
    """
    if wanted is not None:
        problem = _problem(host, wanted)
        if problem == errno.EADDRINUSE:
            raise UserError(
                f"port {wanted} on {host} is taken; choose another with --master-port, "
                "or leave it out to get a free one"
            )
        if problem:
            raise UserError(f"cannot listen on {host}:{wanted}: {errno.errorcode[problem]}")
        return wanted
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)
        if not (problem := _problem(host, port)):
            return port
        if problem != errno.EADDRINUSE:
            break
    raise UserError(f"found no port to listen on at {host}")


def of_job(environment: Mapping[str, str]) -> int:
    """Returns the port that all nodes of a job derive from its name, the same without one.

    Every task of a Slurm array has a number of its own, so tasks do not collide.
    """
    name = next((environment[name] for name in _JOB_IDS if environment.get(name)), "0")
    number = int(name) if name.isascii() and name.isdecimal() else zlib.crc32(name.encode())
    return _LOWEST + number % (_HIGHEST - _LOWEST)


def _problem(host: str, port: int) -> int:
    """Returns the error number of listening there, 0 if it works."""
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
    """Says whether an IP address is one of this machine's."""
    return _problem(address, 0) == 0
