"""Containers as Ascend Operator and Volcano start them: the variables, the image's program."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.launch.training_jobs import TrainingJob
from tests.launch.two_networks import Node
from tests.marked import Marked
from tests.paths import ROOT

# Connections to a port of this place go to another place, when something listens there: what a
# Service of Kubernetes does for the containers of one machine.
_SERVICE = """\
import asyncio, sys
port, host = sys.argv[1:]
async def connect():
    while True:
        try:
            return await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.1)
async def pass_on(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
async def serve(reader, writer):
    other_reader, other_writer = await connect()
    await asyncio.gather(pass_on(reader, other_writer), pass_on(other_reader, writer))
async def main():
    await (await asyncio.start_server(serve, "127.0.0.1", port)).serve_forever()
asyncio.run(main())
"""


def operator_variables(
    number: int, count: int, npus: int, master: str = "10.0.0.1", port: int = 2222
) -> dict[str, str]:
    """What Ascend Operator sets in one container of a job whose Scheduler has NPUs.

    Args:
        number: Of the container, 0 for the Scheduler.
        count: Containers of the job.
        npus: NPUs of each of them.
        master: In the Scheduler its own address, in a Worker that of the Scheduler's Service.
        port: Of that Service.
    """
    return {
        "MS_SCHED_HOST": master,
        "MS_SCHED_PORT": str(port),
        "MS_WORKER_NUM": str(count * npus),
        "MS_LOCAL_WORKER": str(npus),
        "MS_NODE_RANK": str(number),
        "MS_SERVER_NUM": "0",
        "MS_ROLE": "MS_WORKER" if number else "MS_SCHED",
        "NPU_POD": "true",
        "HostNetwork": "false",
        "REPLICA_TYPE": "Worker" if number else "Scheduler",
        "MINDX_TASK_ID": "4f2b0f5e-8f3c-4c39-b4e8-9c1c7f0c5f11",
        "MINDX_SERVER_DOMAIN": "clusterd-grpc-svc.mindx-dl.svc.cluster.local",
    }


def volcano_variables(number: int, count: int, master: str = "10.0.0.1") -> dict[str, str]:
    """What Volcano's plugins env and svc set in one container of the task ``worker``."""
    others = (f"mtln-worker-{other}.mtln" for other in range(1, count))
    return {
        "VK_TASK_INDEX": str(number),
        "VC_TASK_INDEX": str(number),
        "VC_WORKER_HOSTS": ",".join([master, *others]),
        "VC_WORKER_NUM": str(count),
    }


def start_container(
    config: Path, run_dir: Path, *options: object, prefix: Sequence[str] = (), **variables: str
) -> TrainingJob:
    """What the image runs, with the arguments of a manifest."""
    entrypoint = ("bash", str(ROOT / "launch/entrypoint.sh"))
    variables = {"MTLN_PYTHON": sys.executable, **variables}
    return TrainingJob(config, run_dir, *options, prefix=prefix, launcher=entrypoint, **variables)


def start_job(
    starter: str,
    places: Sequence[Node],
    port: int,
    npus: int,
    config: Path,
    run_dir: Path,
    *options: object,
    **variables: str,
) -> tuple[list[TrainingJob], list[Marked]]:
    """Starts the containers of a job, one in each place; the containers, and their Services.

    A Worker of the operator knows nothing of the Scheduler but its Service, which reaches one port.

    Args:
        starter: "operator" or "volcano".
        places: Where the containers are.
        port: The port on which the launchers meet.
        npus: Of each container. Volcano says nothing of them, so that is an option here.
        config: Configuration file.
        run_dir: Run folder.
        options: Further arguments.
        variables: What each container has on top.
    """
    containers: list[TrainingJob] = []
    services: list[Marked] = []
    if starter == "volcano":
        options = (f"nproc={npus}", *options)
    for number, place in enumerate(places):
        master = places[0].address
        if starter == "volcano":
            told = volcano_variables(number, len(places), master)
            told["MTLN_JOB_ID"] = str(port)  # else the port is the same for all tests
        else:
            if number and place.prefix:
                service = [*place.prefix, sys.executable, "-c", _SERVICE, port, master]
                services.append(Marked(service, {}))
                master = "127.0.0.1"
            told = operator_variables(number, len(places), npus, master, port)
        told |= variables
        containers.append(start_container(config, run_dir, *options, prefix=place.prefix, **told))
    return containers, services
