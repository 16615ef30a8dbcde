"""A process that measures when it is told to: ``python -m tools.bench.worker ADDRESS KIND SPEC``.

It connects to the Unix socket ADDRESS, says who it is, makes the peer KIND, ``module.Class`` in
``tools.bench.peers``, and then calls the methods it is asked for. Between two of them it sleeps in
a read of the socket.

Nothing of the project is imported here but for peers of ours: another one may be in an environment
that lacks most packages, and must run without what ours needs.
"""

import importlib
import json
import os
import re
import sys
import time
from multiprocessing.connection import Client
from pathlib import Path
from typing import Any

from tools.bench.peers import Peer

# The peers that train or load with this project.
_OURS = ("ours.Trainer", "ours.Evaluator", "checks.Checked", "loaders.Ours", "predictors.Ours")
# Where the starters put the rank: mpirun, launch, tools.bench.group.
_RANKS = ("OMPI_COMM_WORLD_RANK", "MS_NODE_ID", "BENCH_RANK")
# What is written down of the environment; of paths the last part, as the rest is nobody's business.
_TOLD = (
    *("MTLN_NATIVE", "MTLN_GRAPH_CACHE", "ONEDNN_", "OMP_", "MKL_", "DNNL_"),
    *("OMPI_MCA_mpi_yield", "MALLOC_", "LD_PRELOAD"),
)


def short(address: str) -> str:
    """Return a path of the same socket that is not too long for one, whatever ``TMPDIR`` is."""
    folder, name = os.path.split(address)
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)  # until this process ends
    return f"/proc/self/fd/{handle}/{name}"


def main(address: str, kind: str, text: str) -> None:
    """Serve until the other end says stop, or is gone."""
    spec = json.loads(text)
    rank = next(int(os.environ[name]) for name in _RANKS if name in os.environ)
    os.sched_setaffinity(0, spec["cores"][rank])
    with Client(short(address)) as connection:

        def tell(answer: dict[str, Any]) -> None:
            connection.send_bytes(json.dumps(answer).encode())

        tell({"rank": rank, "pid": os.getpid()})
        if kind in _OURS:
            from train.environment import prepare_for_mindspore

            prepare_for_mindspore()
        module, _, name = kind.partition(".")
        made = getattr(importlib.import_module(f"tools.bench.peers.{module}"), name)
        peer: Peer = made(spec, rank)
        variables = {k: Path(v).name for k, v in os.environ.items() if k.startswith(_TOLD)}
        cores = sorted(os.sched_getaffinity(0))
        tell({**peer.info, "cores": cores, "variables": variables})
        while True:
            try:
                do, values = json.loads(connection.recv_bytes())
            except (EOFError, OSError):
                # Nobody asks any more, and the other ranks may never come to a barrier.
                os._exit(1)
            if do == "close":
                return peer.close()
            begin = time.perf_counter()
            answer = _memory() if do == "memory" else getattr(peer, do)(**values)
            tell({"seconds": time.perf_counter() - begin, **(answer or {})})


def _memory() -> dict[str, float]:
    """Return MB: the most that was resident, and now with shared pages divided by their users."""
    text = Path("/proc/self/status").read_text() + Path("/proc/self/smaps_rollup").read_text()
    kilobytes = dict(re.findall(r"(?m)^(VmHWM|Pss):\s+(\d+)", text))
    return {"peak": int(kilobytes["VmHWM"]) / 1e3, "share": int(kilobytes["Pss"]) / 1e3}


if __name__ == "__main__":
    main(*sys.argv[1:])
