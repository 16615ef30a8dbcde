"""The command line: what ModelArts passes, as the launcher and the training program take it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.arguments import seconds
from train.errors import UserError

HELP = """\
usage: python launch/modelarts.py --config CONFIG [--data_url URL] [--train_url URL]
                                  [--name=value ...]

Runs a training job in a container of ModelArts, one node or one card of it as the platform's
variables say; without such variables, on this machine.

  --config CONFIG      configuration file, relative to this folder or to the project's
  --data_url URL       where the data sets are: obs://, s3:// or a folder on this machine. Relative
                       "records" folders of CONFIG are taken below it
  --train_url URL      where the run folder goes, or is: obs://, s3:// or a folder. What is there is
                       fetched first: a job that was stopped goes on from its newest checkpoint
  --local_dir DIR      folder of this node for copies (default: $MA_CACHE_DIR or /cache, and mtln)
  --stage_timeout S    seconds that the data may take to get here (default: 7200)
  --upload_every S     seconds between uploads of the run folder while it grows; 0: only in the end
                       (default: 600)
  --nproc, --node_timeout, --master_port, --rank_table, --max_restarts, --hang_timeout, --grace,
  --dry_run            as for python -m launch
  --key.sub=value      any other name is a setting of CONFIG, key.sub=value

Names may be written with - instead of _, values after = or as the next word. For the variables
that give endpoint and keys: python -m tools copy --help"""

# Options of the launcher that are passed on as they are.
_LAUNCHER = (
    "nproc",
    "node_timeout",
    "master_port",
    "rank_table",
    "max_restarts",
    "hang_timeout",
    "grace",
)
# Some versions of the platform pass these on their own; its variables say the same.
_OF_THE_PLATFORM = ("num_gpus", "init_method", "rank", "world_size")
_FLAGS = ("dry_run", "help")


@dataclass
class Request:
    """What is asked for.

    Attributes:
        config: the configuration file.
        settings: ``key.sub=value`` each, for the training program.
        options: for the launcher, as words of its command line.
        data_url: where the data sets are, None if their paths are right as they are.
        train_url: where the run folder goes, None to leave it where it is.
        local_dir: folder of this node for copies.
        stage_seconds: how long the data may take to get here.
        upload_seconds: between uploads while the job runs, 0 for none.
        dry_run: print what would run.
        ignored: names of arguments that mean nothing here.
    """

    config: Path
    settings: list[str] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    data_url: str | None = None
    train_url: str | None = None
    local_dir: Path = Path("/cache/mtln")
    stage_seconds: float = 7200.0
    upload_seconds: float = 600.0
    dry_run: bool = False
    ignored: list[str] = field(default_factory=list)


def parse(argv: Sequence[str], root: Path, cache: str | None) -> Request | None:
    """Reads the command line; None if only help is asked for.

    Args:
        argv: the arguments.
        root: the project's folder.
        cache: fast local folder of the node, None for the usual one.

    Raises:
        UserError: an argument is wrong.
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
        elif plain == "stage_timeout":
            request.stage_seconds = seconds(f"--{name}", value)
        elif plain == "upload_every":
            request.upload_seconds = seconds(f"--{name}", value)
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
    """Splits ``--name=value``, ``--name value``, ``name=value``; a single word is the CONFIG."""
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
    """The file, which a job that cannot choose its folder names relative to the project's."""
    for path in (config.absolute(), root / config):
        if path.is_file():
            return path
    raise UserError(f"configuration file {config} does not exist, neither here nor in {root}")
