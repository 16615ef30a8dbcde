"""``python -m launch.modelarts_job``, what launch/modelarts.py becomes.

Finds the program that takes this process's place: the launcher of this node or card, or a rank of
msrun's.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import launch.arguments
import train.process.signals
import train.program.requirements  # noqa: F401  ends here, in one line, where something is not installed
from launch.job import Job
from launch.last_upload import upload_rest
from launch.modelarts_job import arguments
from launch.modelarts_job.arguments import Request
from launch.modelarts_job.place import Card, Node, Worker, identify, patience, wait_for_host
from launch.supervisor.child_process import Signals, shell_code, start_program, wait_for
from rank_tables import load
from train.environment import hide_rank_table
from train.errors import UserError
from train.process.signals import REQUESTS
from train.program.ending import exit_code
from train.storage.address import is_remote
from train.storage.secrets import shown_words

ROOT = Path(__file__).resolve().parents[2]

_CACHE = "MTLN_STORAGE_CACHE"
# Nodes are not equally quick to start.
_NODE_SECONDS = "1800"


def main(argv: Sequence[str]) -> int:
    """Run the job, or this process's part of it; return the exit code."""
    return exit_code(lambda: _run(argv))


def _run(argv: Sequence[str]) -> int:
    request = arguments.parse(argv, ROOT, os.environ.get("MA_CACHE_DIR"))
    if request is None:
        print(arguments.HELP)
        return 0
    os.chdir(ROOT)  # what paths in a configuration are relative to
    return run(request, identify(os.environ))


def run(request: Request, place: Node | Card | Worker) -> int:
    """Become the launcher of this node or card, or a rank; of rank 0, return the exit code.

    Raises:
        UserError: Something asked for cannot be.
    """
    for name in request.ignored:
        _note(f"--{name} is left out: the variables of the platform say so too")
    # Mistakes are told before anything is waited for.
    command, variables, job = plan(request, place)
    if isinstance(place, Worker):
        if request.dry_run:
            print(shlex.join(shown_words(command)))
            return 0
        if place.rank == 0 and job.upload_command is not None:
            return _watch(command, variables, job)
    elif request.dry_run:
        command.append("--dry-run")
    elif isinstance(place, Card):
        if job.rank_table:
            load(job.rank_table, patience(os.environ))  # filled in when all containers are there
    elif place.master:
        wait_for_host(place.master, patience(os.environ))
    os.execve(command[0], command, variables)


def plan(request: Request, place: Node | Card | Worker) -> tuple[list[str], dict[str, str], Job]:
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
    if isinstance(place, Worker):
        if request.options:
            given = ", ".join(word for word in request.options if word.startswith("--"))
            _note(f"{given}: without effect, since msrun starts a process per card")
        job = launch.arguments.parse(words).job
        return list(job.worker_command), {"PYTHONUNBUFFERED": "1", **variables}, job
    words += [*request.options, *_place_in_job(place, request.options)]
    if isinstance(place, Node):
        # The platform's, which is not always complete; the launcher's parser looks for it too.
        hide_rank_table(variables)
        hide_rank_table(os.environ)
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


def _place_in_job(place: Node | Card, options: list[str]) -> list[str]:
    """Return what the launcher has to be told, on top of the user's options and the variables."""
    words = []
    if isinstance(place, Node):
        if place.nproc and "--nproc" not in options:
            words += ["--nproc", str(place.nproc)]
        if place.count == 1:
            return words
        words += ["--nnodes", str(place.count), "--node-rank", str(place.number)]
        words += ["--master", place.master]
    if "--node-timeout" not in options:
        words += ["--node-timeout", _NODE_SECONDS]
    return words


def _watch(command: list[str], variables: dict[str, str], job: Job) -> int:
    """Run rank 0 to its end, then upload what it has left; return the exit code."""
    began = time.time()
    with Signals() as signals:
        rank = start_program(command, variables)
        while rank.poll() is None:
            if received := wait_for(rank, signals, handed_on=REQUESTS):
                rank.send_signal(received)
        return upload_rest(job, shell_code(rank.wait()), signals, began)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
