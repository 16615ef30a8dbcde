"""The command line: what ModelArts passes, as the launcher and the training program take it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.arguments import OPTIONS, seconds
from train.errors import UserError

HELP = """\
usage: python launch/modelarts.py --config CONFIG [--data_url URL] [--train_url URL]
                                  [--name=value ...]

Runs a training job in a container of ModelArts, one node or one card of it as the platform's
variables say; without such variables, on this machine.

  --config CONFIG      configuration file, relative to this folder or to the project's
  --data_url URL       where the data sets are: obs://, s3:// or a folder on this machine. Relative
                       "records" folders of CONFIG are taken below it
  --train_url URL      the run folder: obs://, s3:// or a folder. The newest checkpoint there is
                       fetched first: a job that was stopped goes on from it
  --local_dir DIR      folder of this node for copies (default: $MA_CACHE_DIR or /cache, and mtln)
  --stage_timeout S    seconds to wait for the process of this node that copies the data
                       (default: 7200)
  --upload_every S     seconds between uploads of metrics and logs; 0: only in the end
                       (default: 30). Checkpoints are uploaded at once
  --nproc, --node_timeout, --master_port, --rank_table, --max_restarts, --hang_timeout, --grace,
  --dry_run            as for python -m launch
  --key.sub=value      any other name is a setting of CONFIG, key.sub=value

Names may be written with - instead of _, values after = or as the next word. For the variables
that give endpoint and keys: python -m tools copy --help"""

# Options of the launcher that are passed on as they are.
_LAUNCHER = {name.removeprefix("--").replace("-", "_") for name, *_ in OPTIONS}
_LAUNCHER -= {"nnodes", "node_rank", "master"}  # which the platform's variables say
# Some versions of the platform pass these on their own; its variables say the same.
_OF_THE_PLATFORM = ("num_gpus", "init_method", "rank", "world_size")
_FLAGS = ("dry_run", "help")
# Seconds between uploads that never come.
_NEVER = 1e9


@dataclass
class Request:
    """What is asked for.

    Attributes:
        config: The configuration file.
        settings: ``key.sub=value`` each, for the training program.
        options: For the launcher, as words of its command line.
        data_url: Where the data sets are, None if their paths are right as they are.
        train_url: The run folder, None for that of the configuration.
        local_dir: Folder of this node for copies.
        dry_run: Print what would run.
        ignored: Names of arguments that mean nothing here.
    """

    config: Path
    settings: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    data_url: str | None = None
    train_url: str | None = None
    local_dir: Path = Path("/cache/mtln")
    dry_run: bool = False
    ignored: list[str] = field(default_factory=list)


def parse(argv: Sequence[str], root: Path, cache: str | None) -> Request | None:
    """Read the command line; None if only help is asked for.

    Args:
        argv: The arguments.
        root: The project's folder.
        cache: Fast local folder of the node, None for the usual one.

    Raises:
        UserError: An argument is wrong.
    """
    request = Request(Path(), local_dir=Path(cache or "/cache") / "mtln")
    config = None
    for name, value in _pairs(argv):
        plain = name.replace("-", "_")
        if plain == "help":
            return None
        if plain in ("config", "config_path"):
            config = value
        elif plain in ("data_url", "train_url"):
            # An input that was left empty in the console is passed as an empty word.
            setattr(request, plain, value or None)
        elif plain == "local_dir":
            request.local_dir = Path(value).absolute()
            request.settings.append(f"storage.cache={json.dumps(str(request.local_dir))}")
        elif plain == "stage_timeout":
            request.settings.append(f"storage.wait_seconds={seconds(f'--{name}', value)}")
        elif plain == "upload_every":
            every = seconds(f"--{name}", value) or _NEVER
            request.settings.append(f"storage.upload_every={every}")
        elif plain in _LAUNCHER:
            request.options += [f"--{plain.replace('_', '-')}", value]
        elif plain == "dry_run":
            request.dry_run = value.lower() in ("", "1", "true")
        elif plain in _OF_THE_PLATFORM:
            request.ignored.append(name)
        else:
            request.settings.append(f"{name}={value}")
    if config is None:
        raise UserError("no configuration file given: --config CONFIG (see --help)")
    request.config = _find(Path(config), root)
    return request


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Split ``--name=value``, ``--name value``, ``name=value``; a single word is the CONFIG."""
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "-h":
            word = "--help"
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") and not equals:
            name, value = "config", word
        elif not equals and words and not words[0].startswith("--"):
            if name.replace("-", "_") not in _FLAGS:
                value = words.pop(0)
        elif not equals and name.replace("-", "_") not in _FLAGS:
            raise UserError(f"{word} needs a value: {word}=value")
        if not name:
            raise UserError(f"unexpected argument {word!r} (see --help)")
        yield name, value


def _find(config: Path, root: Path) -> Path:
    """Return the file, which may be relative to the project's folder: jobs cannot choose theirs."""
    for path in (config.absolute(), root / config):
        if path.is_file():
            return path
    raise UserError(f"configuration file {config} does not exist, neither here nor in {root}")
