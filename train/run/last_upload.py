"""``python -m train.run.last_upload CONFIG [key.sub=value ...]``: upload what the ranks have left.

The launcher runs this on every node when its ranks have ended, whatever their end: rank 0, which
uploads while it trains, may have been killed, and nobody else uploads the logs of other nodes.
What is in object storage already is not sent again.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from train.config.reader import load_config
from train.config.schema import Config
from train.errors import FAILURE, UserError
from train.run.object_storage import build_mirror
from train.run.run_folder import RunFolder, is_incomplete
from train.storage.retry import Retry, StorageError
from train.storage.run_download import CONFIG
from train.storage.run_mirror import Mirror
from train.storage.run_upload import Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload what is missing; return 1 if that failed and the results are required to be there."""
    options = _parse(arguments)
    config = load_config(options.config, options.overrides)
    if (mirror := build_mirror(config)) is None:
        return 0
    try:
        _upload(config, mirror, options.since)
    except (UserError, StorageError) as error:
        kind = "error" if options.required else "warning"
        where = config.run_folder.absolute()
        told = f"the results are not all in {config.run_dir}; they are in {where}"
        print(f"{kind}: {error}\n{kind}: {told}", file=sys.stderr)
        return FAILURE if options.required else 0
    return 0


def _upload(config: Config, mirror: Mirror, since: float | None) -> None:
    folder, address = RunFolder(config, is_first=False), str(config.run_dir)
    again = Retry(config.storage.resolved(os.environ).tries)
    what = f"run_dir: {address}"
    if not _has_begun(folder.path, since):
        again.call(what, mirror.update_logs)
        return
    again.call(what, lambda: mirror.update(summary=False))
    summary = folder.read_summary()
    if summary is not None:
        if is_incomplete(summary):  # noted by rank 0, and no longer true
            folder.note_storage(summary, address, Outcome())
        again.call(what, lambda: mirror.update(summary=True))


def _has_begun(folder: Path, since: float | None) -> bool:
    """Return whether a run has begun in a folder after a time.

    Before it has begun, the folder may hold an older state of the run than object storage.
    """
    try:
        return since is not None and (folder / CONFIG).stat().st_mtime >= since
    except OSError:
        return False


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m train.run.last_upload", description=__doc__)
    add = parser.add_argument
    add("config", type=Path, help="YAML file, see configs/")
    add("overrides", nargs="*", metavar="key.sub=value", help="replaces a value of the file")
    add("--required", action="store_true", help="fail if the results cannot be uploaded")
    add(
        "--since",
        type=float,
        metavar="T",
        help="upload the results too, if the run has begun after T, in seconds since 1970; by "
        "default the logs alone",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
