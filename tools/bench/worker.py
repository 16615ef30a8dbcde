"""A process that measures when it is told to: ``python -m tools.bench.worker ADDRESS KIND SPEC``.

It connects to the Unix socket ADDRESS, says who it is, makes the Peer of the module
``tools.bench.peers.KIND`` and then answers requests, a line of JSON each. Between two of them it
sleeps in a read of the socket.

Nothing of the project is imported here: what a peer does not need must not change its environment
(``train`` caps the instruction set), and it may be in another one that lacks most packages.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

# Where the starters put the rank: mpirun, launch, tools.bench.group.
_RANKS = ("OMPI_COMM_WORLD_RANK", "MS_NODE_ID", "BENCH_RANK")
# What is written down of the environment; of paths the last part, as the rest is nobody's business.
_TOLD = (
    "MTLN_NATIVE",
    "MTLN_GRAPH_CACHE",
    "ONEDNN_",
    "OMP_",
    "MKL_",
    "DNNL_",
    "OMPI_MCA_mpi_yield",
    "MALLOC_",
    "LD_PRELOAD",
)


class Peer(Protocol):
    """What a module of ``tools.bench.peers`` has to offer.

    Attributes:
        info: What the report should hold of it, for instance versions; plain values.
    """

    info: dict[str, Any]

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what is asked for; ``request["do"]`` says what."""

    def close(self) -> None:
        """Leaves the other ranks."""


def main() -> None:
    """Serves until the other end says stop, or is gone."""
    address, kind, text = sys.argv[1:]
    spec = json.loads(text)
    rank = next(int(os.environ[name]) for name in _RANKS if name in os.environ)
    os.sched_setaffinity(0, spec["cores"][rank])
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        stream = connection.makefile("rw", encoding="utf-8")
        _tell(stream, {"rank": rank, "pid": os.getpid()})
        peer: Peer = importlib.import_module(f"tools.bench.peers.{kind}").Peer(spec, rank)
        cores = sorted(os.sched_getaffinity(0))
        _tell(stream, {**peer.info, "cores": cores, "variables": _variables(os.environ)})
        for line in stream:
            request = json.loads(line)
            if request["do"] == "stop":
                peer.close()
                return
            _tell(stream, _memory() if request["do"] == "memory" else peer.answer(request))
    os._exit(1)  # nobody asks any more, and the other ranks may never come to a barrier


def _tell(stream: TextIO, answer: dict[str, Any]) -> None:
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


def _variables(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: Path(v).name for k, v in sorted(environment.items()) if k.startswith(_TOLD)}


def _memory() -> dict[str, float]:
    """Megabytes: the most that was resident, and now with shared pages divided by their users."""
    status = Path("/proc/self/status").read_text()
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return {"peak": _kilobytes(status, "VmHWM:") / 1e3, "share": _kilobytes(rollup, "Pss:") / 1e3}


def _kilobytes(text: str, key: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key))


if __name__ == "__main__":
    main()
