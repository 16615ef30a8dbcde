"""``python -m launch.modelarts_job``, what launch/modelarts.py becomes.

Finds the program that takes this process's place: the launcher of this node, or one rank.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import launch.arguments
from launch.job import Job
from launch.last_upload import upload_rest
from launch.modelarts_job import arguments
from launch.modelarts_job.arguments import Request
from launch.modelarts_job.place import Card, Node, identify, patience, wait_for_host
from launch.plan.processes import SEVERAL_RANKS
from launch.supervisor.child_process import Signals, shell_code, start_program, wait_for
from rank_tables import load
from train.errors import USER_ERROR, UserError, error_text
from train.files import replace_file
from train.storage.address import is_remote

ROOT = Path(__file__).resolve().parents[2]

_TABLE = "RANK_TABLE_FILE"
_CACHE = "MTLN_STORAGE_CACHE"
# Nodes are not equally quick to start.
_NODE_SECONDS = "1800"


def main(argv: Sequence[str]) -> int:
    """Run the job, or this process's part of it; return the exit code."""
    try:
        request = arguments.parse(argv, ROOT, os.environ.get("MA_CACHE_DIR"))
        if request is None:
            print(arguments.HELP)
            return 0
        os.chdir(ROOT)  # what paths in a configuration are relative to
        return run(request, identify(os.environ))
    except UserError as error:
        print(error_text(error), file=sys.stderr)
        return USER_ERROR


def run(request: Request, place: Node | Card) -> int:
    """Become the launcher of this node or the rank of this card; of some, return the exit code.

    Raises:
        UserError: Something asked for cannot be.
    """
    for name in request.ignored:
        _note(f"--{name} is left out: the variables of the platform say so too")
    # Mistakes are told before anything is waited for.
    command, variables, job = plan(request, place)
    if request.dry_run:
        if isinstance(place, Node):
            os.execve(command[0], [*command, "--dry-run"], variables)
        changed = {k: v for k, v in variables.items() if os.environ.get(k) != v}
        print("\n".join(f"{name}={shlex.quote(value)}" for name, value in changed.items()))
        print(shlex.join(command))
        return 0
    if isinstance(place, Card):
        if place.rank_table:
            table = _usable_table(request, place, Path(place.rank_table))
            variables[_TABLE] = str(table)
        if place.rank == 0 and job.upload_command is not None:
            return _watch(command, variables, job)
    elif place.master:
        wait_for_host(place.master, patience(os.environ))
    os.execve(command[0], command, variables)


def plan(request: Request, place: Node | Card) -> tuple[list[str], dict[str, str], Job]:
    """Return the program of this node or card, all of its environment, and its job.

    Raises:
        UserError: An argument is wrong.
    """
    words = [str(request.config), *_settings(request)]
    if request.train_url and is_remote(request.train_url):
        words.append("--require-upload")  # nothing else is left of a container
    variables = dict(os.environ)
    if request.data_url and is_remote(request.data_url):
        variables.setdefault(_CACHE, str(request.local_dir))
    if isinstance(place, Card):
        if request.options:
            given = ", ".join(word for word in request.options if word.startswith("--"))
            _note(f"{given}: without effect, since the platform starts a process per card")
        if place.rank_table:
            variables = {**SEVERAL_RANKS, **variables, "DEVICE_ID": str(place.device)}
        elif Path(variables.get(_TABLE) or "").is_dir():
            # A folder: a rank cannot read it, and a single rank needs no table.
            del variables[_TABLE]
        job = launch.arguments.parse(words).job
        return list(job.worker_command), {"PYTHONUNBUFFERED": "1", **variables}, job
    words += _options_of_node(place, request.options)
    variables.pop(_TABLE, None)
    os.environ.pop(_TABLE, None)  # the launcher's parser looks there too
    if name := variables.get("MA_VJ_NAME"):
        variables.setdefault("MTLN_JOB_ID", name)
    job = launch.arguments.parse(words).job
    return [sys.executable, "-m", "launch", *words], variables, job


def _settings(request: Request) -> list[str]:
    """Return the settings, also those that say where the data sets and the run folder are."""
    settings = list(request.settings)
    if data := request.data_url:
        if not is_remote(data):
            data = str(Path(data).absolute())
            if not Path(data).is_dir():
                raise UserError(f"--data_url: {data} is no folder")
        settings.append(f"data_root={json.dumps(data, ensure_ascii=False)}")
    if run_dir := request.train_url:
        for setting in [s for s in settings if s.startswith("run_dir=")]:
            if not is_remote(run_dir):
                raise UserError(
                    "--train_url is a folder, so it is the run folder: leave out run_dir="
                )
            _note(f"{setting} is left out: --train_url is the run folder")
            settings.remove(setting)
        settings.append(f"run_dir={run_dir if is_remote(run_dir) else Path(run_dir).absolute()}")
    return settings


def _options_of_node(node: Node, options: list[str]) -> list[str]:
    words = list(options)
    if node.nproc and "--nproc" not in options:
        words += ["--nproc", str(node.nproc)]
    if node.count > 1:
        words += ["--nnodes", str(node.count), "--node-rank", str(node.number)]
        words += ["--master", node.master]
        if "--node-timeout" not in options:
            words += ["--node-timeout", _NODE_SECONDS]
    return words


def _usable_table(request: Request, card: Card, path: Path) -> Path:
    """Wait for the rank table and check it; return the file that HCCL can read."""
    table = load(path, patience(os.environ))
    if len(table.devices) != card.size:
        raise UserError(
            f"{table.source}: has {len(table.devices)} ranks, but RANK_SIZE is {card.size}"
        )
    if not table.converted:
        return table.source.resolve()
    converted = request.local_dir / "rank_table" / "jobstart_hccl.json"
    try:
        converted.parent.mkdir(parents=True, exist_ok=True)
        replace_file(converted, table.to_json().encode())  # every card writes the same
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None
    return converted


def _watch(command: list[str], variables: dict[str, str], job: Job) -> int:
    """Run rank 0 to its end, then upload what it has left; return the exit code."""
    began = time.time()
    with Signals() as signals:
        rank = start_program(command, variables)
        while rank.poll() is None:
            if received := wait_for(rank, signals):
                rank.send_signal(received)
        return upload_rest(job, shell_code(rank.wait()), signals, began)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
