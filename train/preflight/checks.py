"""What can be found wrong with a run before anything starts: data sets, tasks, ranks, memory.

Nothing here imports MindSpore: the launcher asks before it starts a process, and every rank before
it spends seconds on imports. Records in object storage are not here yet; they are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.config.nearest import did_you_mean
from train.config.schema import Config
from train.data.manifest import MANIFEST, Manifest, RecordSet, open_record_sets
from train.data.sampler import require_images
from train.data.shares import batch_shares
from train.errors import UserError
from train.preflight.memory import require_memory
from train.run.checkpoint import vouched_state
from train.run.checkpoint_folder import checkpoints_in
from train.run.event_files import is_installed
from train.run.identity import require_same_run, run_identity
from train.storage.address import is_remote
from train.tasks.labels import labels_of
from train.tasks.registry import KINDS

_PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
# What the demo data are below, and the command that makes them.
_DEMO = "data/demo/records"


def check(
    config: Config,
    ranks: int = 1,
    ranks_here: int = 1,
    on_cpu: bool = False,
    is_plan: bool = False,
) -> list[str]:
    """Check a run against its data sets and this machine.

    Args:
        config: The run.
        ranks: Number of ranks of the job, or the fewest that it can have.
        ranks_here: Those of this machine.
        on_cpu: Whether they compute in this machine's memory.
        is_plan: Whether nothing is to be started. Then the demo data, which the scripts make before
            they start a job, may be missing.

    Returns:
        What is allowed but may not be meant, a sentence each.

    Raises:
        UserError: It cannot run: one line for every mistake.
    """
    if missing := _missing_demo(config):
        if is_plan:
            return [missing]
        raise UserError(missing)
    problems: list[str] = []
    if config.tensorboard and not is_installed():
        problems.append(
            "tensorboard: needs TensorBoard, which is not installed here "
            "(python -m pip install -r requirements-tensorboard.txt)"
        )
    sets = []
    for name in config.datasets:
        try:
            if (found := _opened(config, name)) is not None:
                sets.append(found)
        except UserError as error:
            problems.append(str(error))
    by_name = {s.name: s for s in sets}
    for task in config.tasks:
        if (found := by_name.get(config.dataset_of(task))) is not None:
            try:
                labels_of(task, config, found)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    if len(sets) < len(config.datasets):  # the rest is not known yet
        return []
    shares = batch_shares(config, sets)
    require_images(shares, ranks)
    images = sum(-(-share // ranks) for share in shares.values())
    require_memory(config, images, ranks_here, on_cpu)
    return [*_small_sets(sets, shares), *_resized(config, sets), *_not_tested(sets)]


def check_folder(config: Config) -> None:
    """Check that a run can go on in its run folder, or begin with what it is to begin with.

    For the machine of rank 0 alone, which reads both.

    Args:
        config: The run.

    Raises:
        UserError: The folder holds another run, or there is nothing to begin with.
    """
    if is_remote(str(config.run_dir)):
        return  # what is here may be older than what is there
    try:
        state = _newest_state(config.run_folder / "checkpoints")
    except OSError as error:
        raise UserError(f"run_dir: {_refused(error, config.run_folder)}") from None
    if state is None:
        _require_beginning(config.init_from)
        return
    if any(isinstance(config.location_of(name), str) for name in config.datasets):
        return
    now = config
    if config.precision == "auto":  # it depends on the device, which is looked at later
        now = config.model_copy(update={"precision": state["run"].get("precision", "float32")})
    identity = run_identity(now, open_record_sets(config))
    require_same_run(state["run"], identity, str(config.run_folder))


def _require_beginning(path: Path | str | None) -> None:
    try:
        # What an address stands for shows when it is downloaded.
        if not isinstance(path, Path) or path.exists():
            return
    except OSError as error:
        raise UserError(f"init_from: {error.strerror}: {path!s:.200}") from None
    raise UserError(f"init_from: {path}: no such file or folder")


def _newest_state(folder: Path) -> dict[str, Any] | None:
    """Return what the newest checkpoint says of its run, without looking at the rest of it."""
    states = (vouched_state(path) for path in reversed(checkpoints_in(folder)))
    return next((s for s in states if s is not None and isinstance(s.get("run"), dict)), None)


def _opened(config: Config, name: str) -> RecordSet | None:
    """Return a data set, None where it is in object storage."""
    folder = config.location_of(name)
    if isinstance(folder, str):
        return None
    try:
        try:
            return RecordSet(name, folder, Manifest.read(folder))
        except UserError as error:
            remedy = _remedy(folder, name)
            message = str(error) if remedy is None else f"{folder}: {remedy}"
    except OSError as error:
        message = _refused(error, folder)
    raise UserError(f"datasets.{name}.records: {message}")


def _refused(error: OSError, path: Path) -> str:
    """Return what the system says of a path, which may be very long."""
    return f"{path!s:.200}: {error.strerror}"


def _missing_demo(config: Config) -> str | None:
    """Return how to make the demo data, if a data set of theirs is not there."""
    for name in config.datasets:
        folder = config.location_of(name)
        if isinstance(folder, Path) and _DEMO in folder.as_posix() and not folder.is_dir():
            command = "python -m tools demo-data"
            return f"datasets.{name}.records: {folder}: make the demo data first: {command}"
    return None


def _remedy(folder: Path, name: str) -> str | None:
    """Return what to type where a folder holds no records."""
    if (folder / MANIFEST).exists():
        return None
    if "$" in str(folder) or "%" in str(folder):
        return "variables of the shell are not replaced in a configuration: write the path"
    if not folder.is_dir():
        parent = folder.parent
        if parent.is_dir() and (here := [p.name for p in _with_manifest(parent)]):
            near = did_you_mean(folder.name, here)
            return f"no such folder{near} (data sets in {parent}: {', '.join(here)})"
        return None
    if below := [path.name for path in _with_manifest(folder)]:
        deeper = name if name in below else below[0]
        if deeper == name or len(below) == 1:
            return f"data sets are one level deeper: give {folder / deeper}"
        return f"data sets are one level deeper: give one of {', '.join(below)} in it"
    if _holds_class_folders(folder):
        return (
            "these are pictures in class folders, so prepare them first: python -m tools prepare "
            f"{folder} --out data/records/{name}"
        )
    return None


def _with_manifest(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if (path / MANIFEST).is_file())


def _holds_class_folders(folder: Path) -> bool:
    """Return whether pictures are in a folder, or in folders in it."""
    inside = [folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())][:20]
    return any(
        file.suffix.lower() in _PICTURES
        for part in inside
        for _, file in zip(range(50), part.iterdir(), strict=False)
    )


def _small_sets(sets: Sequence[RecordSet], shares: Mapping[str, int]) -> Iterator[str]:
    """Yield a note for every data set that a step uses up."""
    for record_set in sets:
        records, images = record_set.num_records("train"), shares[record_set.name]
        if images > records:
            yield (
                f"batch: every step takes {images:,} images of {record_set.name}, which has "
                f"{records:,} training records: some come several times in a step"
            )


def _shrunken(config: Config, sets: Sequence[RecordSet]) -> Iterator[str]:
    """Yield a note for every data set whose masks are made much smaller, and judged so."""
    with_pixels = {
        config.dataset_of(task) for task, own in config.tasks.items() if KINDS[own.kind].needs_masks
    }
    for record_set in sets:
        height, width = (int(record_set.manifest.image[key][1]) for key in ("height", "width"))
        size = config.image.size
        if record_set.name in with_pixels and max(height, width) > 2 * size:
            yield (
                f"image.size: pictures of {record_set.name}, of up to {width} x {height} pixels, "
                f"become {size} x {size}, and so do their masks: mIoU is that of these pixels (cut "
                "large ones into tiles before they are prepared)"
            )


def _enlarged(config: Config, sets: Sequence[RecordSet]) -> Iterator[str]:
    """Yield a note for every data set whose pictures are enlarged beyond reason."""
    for record_set in sets:
        side = max(int(record_set.manifest.image[key][1]) for key in ("height", "width"))
        if config.image.size > 4 * side:
            yield (
                f"image.size: {config.image.size} is more than four times the size of the pictures "
                f"of {record_set.name}, which have at most {side} pixels"
            )


def _resized(config: Config, sets: Sequence[RecordSet]) -> Iterator[str]:
    yield from _enlarged(config, sets)
    yield from _shrunken(config, sets)


def _not_tested(sets: Sequence[RecordSet]) -> Iterator[str]:
    """Yield a note for every data set without held-out records."""
    for record_set in sets:
        missing = [split for split in ("val", "test") if not record_set.num_records(split)]
        if missing:
            splits = " and no ".join(missing)
            yield f"datasets.{record_set.name}: has no {splits} records, so no figures on them"
