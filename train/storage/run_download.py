"""Fetching what a run needs to resume from its run folder in object storage."""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from train.errors import UserError
from train.files import flush_folder
from train.storage.copier import Copier, Plan
from train.storage.digests import STATE, SUMMARY
from train.storage.retry import Damaged, Retry
from train.storage.stores import Folder, Store, open_store, read_small

CHECKPOINTS = "checkpoints"
# In the folder of the checkpoints.
BEST = "best.json"
METRICS = "metrics.jsonl"
CONFIG = "config.yaml"
_CHECKPOINT = re.compile(r"step_(\d{8,})")


def fetch_run(
    address: str,
    folder: Path,
    variables: Mapping[str, str],
    tries: int,
    say: Callable[[str], None],
    is_whole: Callable[[Path], bool],
    with_config: bool = False,
) -> None:
    """Fetch the newest whole checkpoint of a run, with its metrics, if it is newer than ours.

    With it comes the one that the run keeps as its best.

    Args:
        address: The run folder in object storage.
        folder: The run folder on this machine.
        variables: See :mod:`train.storage.connection`.
        tries: How often a request is tried.
        say: Called with a line on what was found.
        is_whole: Tells whether a folder on this machine is a whole checkpoint.
        with_config: Whether to fetch the run's configuration too, which one that goes on has.

    Raises:
        UserError: The store cannot be used as it is asked for.
        StorageError: It did not answer.
    """
    store = open_store(address, variables)
    found = Retry(tries).call(f"run_dir: {address}", store.files)
    checkpoints = folder / CHECKPOINTS
    here = [f"{CHECKPOINTS}/{path.name}/{STATE}" for path in checkpoints.glob("step_*")]
    ours = next((step for step in steps_in(here) if is_whole(checkpoints / step)), None)
    for step in steps_in(found, whole=True):
        if ours is not None and step_of(step) <= step_of(ours):
            return
        source = open_store(f"{address}/{CHECKPOINTS}/{step}", variables)
        if fetch_checkpoint(source, checkpoints / step, tries, is_whole):
            say(f"{source.address} was fetched")
            if (name := f"{CHECKPOINTS}/{BEST}") in found:
                content = Retry(tries).call(f"{address}/{name}", partial(read_small, store, name))
                best = best_named(content)
                if step_of(best) >= 0 and not is_whole(checkpoints / best):
                    source = open_store(f"{address}/{CHECKPOINTS}/{best}", variables)
                    fetch_checkpoint(source, checkpoints / best, tries, is_whole)
            names = (METRICS, SUMMARY, *((CONFIG,) if with_config else ()))
            files = {name: found[name] for name in names if name in found}
            Copier(store, Folder(folder), tries).run(Plan(files, 0))
            return
        say(f"{source.address} is damaged or not whole: it is not used")


def best_named(content: bytes) -> str:
    """Return which checkpoint a ``best.json`` names; may be nonsense."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(content)["checkpoint"])
    return ""


def step_of(name: str) -> int:
    """Return the step in the name of a checkpoint's folder; -1 for one of something else."""
    found = _CHECKPOINT.fullmatch(name)
    return int(found[1]) if found else -1


def steps_in(names: Iterable[str], whole: bool = False) -> list[str]:
    """Return the names of the checkpoints that have files, newest first.

    Args:
        names: Names of the files of a run folder.
        whole: Only the checkpoints that count, as their state.json is there.
    """
    steps = set()
    for name in names:
        parts = name.split("/")
        of_checkpoint = len(parts) == 3 and parts[0] == CHECKPOINTS and step_of(parts[1]) >= 0
        if of_checkpoint and (parts[2] == STATE or not whole):
            steps.add(parts[1])
    return sorted(steps, key=step_of, reverse=True)


def fetch_checkpoint(
    source: Store, final: Path, tries: int, is_whole: Callable[[Path], bool]
) -> bool:
    """Fetch a checkpoint; False if it is not whole.

    Args:
        source: Its folder in object storage.
        final: Where it is put, whole or not at all.
        tries: How often a request is tried.
        is_whole: Tells whether a folder on this machine is a whole checkpoint.

    Raises:
        UserError: The disk refuses.
        StorageError: The store did not answer.
    """
    temporary = final.with_name(f".{final.name}.fetched")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        copier = Copier(source, Folder(temporary), tries)
        plan = copier.plan()
        if not plan.expected.keys() <= plan.found.keys():
            return False
        copier.run(plan)
        if not is_whole(temporary):
            return False
        shutil.rmtree(final, ignore_errors=True)  # one that does not count
        temporary.rename(final)
        flush_folder(final.parent)
        return True
    except Damaged:
        return False
    except OSError as error:
        raise UserError(f"run_dir: {error.filename}: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
