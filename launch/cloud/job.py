"""From a request to an exit code: data in, training, results out."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import launch.arguments
from launch.cloud.arguments import Request
from launch.cloud.children import Children
from launch.cloud.container import Card, Node, patience, wait_for_host
from launch.cloud.staging import StagingFailed, local_copy, stage
from launch.plan import SEVERAL_RANKS
from train.errors import UserError

_REMOTE = ("s3://", "obs://")
_TABLE = "RANK_TABLE_FILE"
_STORE_FAILED = 1
_TIMED_OUT = 124
# Nodes are not equally quick to fetch their data.
_NODE_SECONDS = "1800"


@dataclass(frozen=True)
class CloudJob:
    """What this process has to do.

    Attributes:
        request: what is asked for.
        place: which node or card this is.
        root: the project's folder.
        environment: this process's variables.
    """

    request: Request
    place: Node | Card
    root: Path
    environment: dict[str, str]


@dataclass(frozen=True)
class Training:
    """The program that trains.

    Attributes:
        command: the launcher, or one rank.
        variables: all of its environment.
        run_dir: its run folder.
    """

    command: list[str]
    variables: dict[str, str]
    run_dir: Path


def run(job: CloudJob) -> int:
    """Runs the job; the exit code is that of the training, or 1 if its results are not saved.

    Raises:
        UserError: something asked for cannot be.
        StagingFailed: the data did not get here.
    """
    os.chdir(job.root)  # what paths in a configuration are relative to
    request = job.request
    for name in request.ignored:
        _note(f"--{name} is left out: the variables of the platform say so too")
    data = _data_root(request)
    training = plan(job, data)  # mistakes are told before anything is copied
    if request.dry_run:
        return _show(job, training)
    children = Children(job.root)
    if data and _is_remote(request.data_url):
        _fetch_data(job, children)
    training = _meet(job, training)
    if request.train_url and _is_remote(request.train_url):
        return _train_and_save(job, children, training, request.train_url)
    return children.run(training.command, training.variables)


# --- what runs ---------------------------------------------------------------------------------


def plan(job: CloudJob, data: Path | None) -> Training:
    """Works out the command of this node or card.

    Raises:
        UserError: an argument is wrong.
    """
    request, place = job.request, job.place
    settings = list(request.settings)
    if data:
        settings.append(f"data_root={json.dumps(str(data), ensure_ascii=False)}")
    if request.train_url and not _is_remote(request.train_url):
        if any(setting.startswith("run_dir=") for setting in settings):
            raise UserError("--train_url is a folder, so it is the run folder: leave out run_dir=")
        settings.append(f"run_dir={Path(request.train_url).absolute()}")
    words = [str(request.config), *settings]
    if isinstance(place, Card):
        if request.options:
            given = ", ".join(word for word in request.options if word.startswith("--"))
            _note(f"{given}: without effect, since the platform starts a process per card")
        parsed = launch.arguments.parse(words).job
        command = list(parsed.worker_command)
        return Training(command, _variables_of_card(job, place), parsed.run_dir)
    words += _options_of_node(place, request.options)
    variables = {name: value for name, value in job.environment.items() if name != _TABLE}
    if name := job.environment.get("MA_VJ_NAME"):
        variables.setdefault("MTLN_JOB_ID", name)
    os.environ.pop(_TABLE, None)  # the launcher's parser looks there too
    parsed = launch.arguments.parse(words).job
    return Training([sys.executable, "-m", "launch", *words], variables, parsed.run_dir)


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


def _variables_of_card(job: CloudJob, card: Card) -> dict[str, str]:
    """What a rank's environment is, but for the rank table."""
    variables = dict(job.environment)
    if card.rank_table:
        variables["DEVICE_ID"] = str(card.device)
        variables = {**SEVERAL_RANKS, **variables}
    elif Path(variables.get(_TABLE) or "").is_dir():
        del variables[_TABLE]  # names a folder, which no rank can read; and none has to
    variables.setdefault("PYTHONUNBUFFERED", "1")
    return variables


def _meet(job: CloudJob, training: Training) -> Training:
    """Waits for what lets the ranks find each other: the rank table, or the name of node 0."""
    place = job.place
    if isinstance(place, Node):
        if place.master:
            wait_for_host(place.master, patience(job.environment))
        return training
    if not place.rank_table:
        return training
    table = _usable_table(job, place, Path(place.rank_table))
    return replace(training, variables={**training.variables, _TABLE: str(table)})


def _usable_table(job: CloudJob, card: Card, path: Path) -> Path:
    """Waits for the rank table and checks it; the file that HCCL can read."""
    from rank_tables import RankTableError, load

    try:
        table = load(path, patience(job.environment))
    except RankTableError as error:
        raise UserError(str(error)) from None
    if len(table.devices) != card.size:
        raise UserError(
            f"{table.source}: has {len(table.devices)} ranks, but RANK_SIZE is {card.size}"
        )
    if not table.converted:
        return table.source.resolve()
    converted = job.request.local_dir / "rank_table" / "jobstart_hccl.json"
    try:
        converted.parent.mkdir(parents=True, exist_ok=True)
        # Every card writes the same; a name of its own until it is whole.
        temporary = converted.with_name(f".{card.rank}.json")
        temporary.write_text(table.to_json(), encoding="utf-8")
        temporary.replace(converted)
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from None
    return converted


def _show(job: CloudJob, training: Training) -> int:
    """Prints what would run; for a node the launcher prints its own plan."""
    if isinstance(job.place, Node):
        command = [*training.command, "--dry-run"]
        return subprocess.run(command, env=training.variables, check=False).returncode
    changed = {k: v for k, v in training.variables.items() if job.environment.get(k) != v}
    print("\n".join(f"{name}={shlex.quote(value)}" for name, value in changed.items()))
    print(shlex.join(training.command))
    return 0


# --- data in, results out ----------------------------------------------------------------------


def _is_remote(address: str | None) -> bool:
    return address is not None and address.startswith(_REMOTE)


def _data_root(request: Request) -> Path | None:
    """The folder below which the records are, or will be."""
    if not request.data_url:
        return None
    if _is_remote(request.data_url):
        return local_copy(request.data_url, request.local_dir)
    folder = Path(request.data_url).absolute()
    if not folder.is_dir():
        raise UserError(f"--data_url: {folder} is no folder")
    return folder


def _copy_command(source: str | Path, target: str | Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "tools", "copy", str(source), str(target), *options]


def _fetch_data(job: CloudJob, children: Children) -> None:
    """Brings the data to this node, or waits for the process of it that does."""
    request = job.request
    url = str(request.data_url)

    def copy(folder: Path) -> tuple[int, str]:
        command = _copy_command(url, folder)
        try:
            code, errors = children.ask(command, job.environment, request.stage_seconds)
        except subprocess.TimeoutExpired:
            limit = f"{request.stage_seconds:g} s (--stage_timeout)"
            return _TIMED_OUT, f"{url}: could not be copied within {limit}"
        if code == 0:
            return 0, ""
        lines = errors.strip().splitlines() or [f"the copy of {url} ended with code {code}"]
        sys.stderr.writelines(f"{line}\n" for line in lines[:-1])
        return code, lines[-1].removeprefix("error: ")

    stage(url, request.local_dir, request.stage_seconds, copy)


def _train_and_save(job: CloudJob, children: Children, training: Training, url: str) -> int:
    """Trains in a run folder that is fetched before, and saved meanwhile and afterwards."""
    if job.place.is_first:
        code = children.run(_copy_command(url, training.run_dir, "--missing-ok"), job.environment)
        if code:
            raise StagingFailed(f"{url}: what is there could not be fetched", code)
    elif isinstance(job.place, Card):
        return children.run(training.command, training.variables)  # rank 0 saves for all
    source, target = training.run_dir, url
    if not job.place.is_first:  # of the other nodes there are logs only
        source, target = training.run_dir / "logs", f"{url.rstrip('/')}/logs"

    def save(*options: str) -> int:
        command = _copy_command(source, target, "--missing-ok", *options)
        return children.finish(command, job.environment)

    children.persist = True  # from here on there may be results
    code = children.run(
        training.command,
        training.variables,
        every=job.request.upload_seconds,
        then=lambda: save("--tries", "1"),
    )
    if save() != 0:
        _note(f"error: the results are not all in {target}; they are in {source.absolute()}")
        return code or _STORE_FAILED
    return code


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
