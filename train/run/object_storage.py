"""What a run has in object storage, as its configuration says: data sets, checkpoints, results."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from train.config.schema import Config
from train.errors import UserError
from train.run.checkpoint import read_state
from train.run.checkpoint_folder import checkpoints_in
from train.storage.address import is_remote
from train.storage.copier import Copier, Progress
from train.storage.dataset_staging import Staging
from train.storage.digests import STATE
from train.storage.retry import Damaged, Retry
from train.storage.run_download import CHECKPOINTS, fetch_run, steps_in
from train.storage.run_mirror import Mirror
from train.storage.run_upload import Uploader
from train.storage.stores import Folder, open_store
from train.temporary import lasting_folder

# So that rank 0, whose lines are seen, is the one that copies on its node.
_HEAD_START = 2.0

_print = partial(print, flush=True)


def fetch(
    config: Config, is_first: bool, shown: bool, alive: Callable[[], None] = lambda: None
) -> Staging:
    """Bring the data sets to this node and, on rank 0, the newest checkpoint to the run folder.

    Args:
        config: The run.
        is_first: Whether this is rank 0.
        shown: Whether to print what is done.
        alive: Called often, so that a watchdog sees that this process does something.

    Returns:
        What keeps the data sets in the cache, until it is released.

    Raises:
        UserError: A data set, a store, the cache or a setting is not as it has to be.
        StorageError: A store failed, or another process took too long.
    """
    variables = config.storage.variables(os.environ)
    limits = config.storage.resolved(os.environ)
    say: Callable[[str], None] = _print if shown else lambda _: None
    staging = Staging(variables, limits, say, alive)
    if is_first and is_remote(run_dir := str(config.run_dir)):
        fetch_run(run_dir, config.run_folder, variables, limits.tries, say, _is_whole)
    places = [config.location_of(name) for name in config.datasets]
    addresses = [place for place in places if isinstance(place, str)]
    if addresses and not is_first:
        time.sleep(_HEAD_START)
    for address in dict.fromkeys(addresses):
        staging.stage(address, config.storage.local_copy(address))
    return staging


def initial_weights(config: Config, alive: Callable[[], None] = lambda: None) -> Path | None:
    """Fetch what a run is to begin with, where ``init_from`` is an address; for rank 0 alone.

    Returns:
        Where it is on this machine as long as this process lives; None if there is nothing to
        fetch, or a checkpoint to resume from.

    Raises:
        UserError: It is not there, or the store cannot be used as it is asked for.
        StorageError: The store failed.
    """
    if not isinstance(config.init_from, str):
        return None
    if any(_is_whole(path) for path in checkpoints_in(config.run_folder / CHECKPOINTS)):
        return None
    return download(config, config.init_from, alive)


def download(config: Config, address: str, alive: Callable[[], None]) -> Path:
    """Fetch a file, a checkpoint, or the newest whole checkpoint of a run; see above."""
    try:
        return _download(config, address, alive)
    except OSError as error:
        raise UserError(f"init_from: {error.filename}: {error.strerror}") from None
    except UserError as error:
        raise UserError(f"init_from: {error}") from None


def _download(config: Config, address: str, alive: Callable[[], None]) -> Path:
    variables, limits = config.storage.variables(os.environ), config.storage.resolved(os.environ)
    into = lasting_folder() / address.rpartition("/")[2]
    progress = Progress(_print, alive)

    def copy(source: str, target: Path) -> None:
        store = open_store(source, variables)
        copier = Copier(store, Folder(target), limits.tries, progress.move)
        plan = copier.plan()
        progress.begin(plan.bytes)
        copier.run(plan)

    found = Retry(limits.tries).call(address, open_store(address, variables).files)
    if list(found) == [into.name]:  # a file
        copy(address, into.parent)
        return into
    if STATE in found:
        copy(address, into)
        return into
    for step in steps_in(found, whole=True):
        with contextlib.suppress(Damaged):
            copy(f"{address}/{CHECKPOINTS}/{step}", into)
            return into
        shutil.rmtree(into, ignore_errors=True)
    what = "neither a whole checkpoint nor a run folder that has one" if found else "is not there"
    raise UserError(f"{address}: {what}")


def build_mirror(config: Config) -> Mirror | None:
    """Build what brings the results of a run to object storage; None if they stay here."""
    run_dir = str(config.run_dir)
    if not is_remote(run_dir):
        return None
    store = open_store(run_dir, config.storage.variables(os.environ))
    return Mirror(config.run_folder, store, config.checkpoint.keep)


def build_uploader(config: Config) -> Uploader | None:
    """Build what uploads the results while the run goes on; None if they stay here."""
    mirror = build_mirror(config)
    if mirror is None:
        return None
    limits = config.storage.resolved(os.environ)
    return Uploader(str(config.run_dir), mirror, limits.upload_every, limits.upload_seconds, _print)


def _is_whole(checkpoint: Path) -> bool:
    return read_state(checkpoint) is not None
