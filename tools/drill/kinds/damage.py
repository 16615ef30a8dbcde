"""Files that are damaged while nobody looks."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.drill import traces
from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from tools.drill.site import SAVE_EVERY

_ARRAYS = ("model.safetensors", "optimizer.safetensors", "ema.safetensors")


def truncate(run: Run, path: Path) -> None:
    """Cut a file anywhere."""
    content = path.read_bytes()
    path.write_bytes(content[: run.rng.randrange(len(content))])


def flip(run: Run, path: Path) -> None:
    """Turn one bit of a file over."""
    content = bytearray(path.read_bytes())
    content[run.rng.randrange(len(content))] ^= 1 << run.rng.randrange(8)
    path.write_bytes(content)


def _checkpoint(run: Run, names: tuple[str, ...], damage: Callable[[Run, Path], None]) -> str:
    """The next older whole one is used, and says so; the damaged one is nobody's to remove."""
    run.require_checkpoints(2)
    *_, older, newest = sorted(traces.whole_checkpoints(run.run_folder))
    folder = run.run_folder / "checkpoints" / f"step_{newest:08d}"
    name = run.rng.choice(names)
    run.hit()
    damage(run, folder / name)
    if run.newest() == newest:
        raise NotSurvived(f"{name} is damaged, and its checkpoint counts as whole")
    run.parked()
    told = run.output()
    for text in (f"step_{newest:08d} is damaged or not finished", f"step_{older:08d}"):
        if text not in told:
            raise NotSurvived(f"it does not say {text!r}, but: {told[-300:]!r}")
    return name


def _all_checkpoints(run: Run) -> str:
    """Nothing of them is overwritten: the run is refused until somebody decides."""
    run.require_checkpoints(1)
    run.hit()
    for path in (run.run_folder / "checkpoints").glob("step_*"):
        flip(run, path / run.rng.choice(_ARRAYS))
    run.let_go()
    run.start()
    run.ends(2, says="no checkpoint in")
    shutil.rmtree(run.run_folder)
    return "refused; folder removed, from the start"


def _copies(run: Run) -> str:
    """Copies of a checkpoint under names of others are neither used nor removed."""
    run.require_checkpoints(1)
    folder, newest = run.run_folder / "checkpoints", run.newest()
    copies = [folder / "step_best", folder / f"step_{newest + 1000:08d}"]
    run.hit()
    for copy in copies:
        shutil.copytree(folder / f"step_{newest:08d}", copy)
    run.parked()
    if f"step_{newest:08d}\n" not in run.output():
        raise NotSurvived(f"it does not resume from step {newest}: {run.output()[-300:]!r}")
    run.goes_on(SAVE_EVERY + 1)
    run.require_newer(newest)
    if gone := [copy.name for copy in copies if not copy.exists()]:
        raise NotSurvived(f"{', '.join(gone)}: removed, though somebody has put it there")
    for copy in copies:  # they would be in the way of the next ones
        shutil.rmtree(copy)
    return "neither used nor removed"


def _metrics(run: Run) -> str:
    """The run goes on, and every line that is there then is one."""
    run.require_checkpoints(1)
    damage = run.rng.choice([truncate, flip])
    run.hit()
    run.keeps_metrics = False
    damage(run, run.run_folder / "metrics.jsonl")
    run.parked()
    traces.require_lines(run.run_folder)
    return damage.__name__


def _shard(run: Run) -> str:
    """The run is refused before it trains, and goes on once the data are repaired."""
    run.end()
    shard = run.rng.choice(run.site.shards)
    damage = run.rng.choice([truncate, flip])
    whole = shard.read_bytes()
    run.hit()
    try:
        damage(run, shard)
        run.let_go()
        run.start()
        # A rank that is still busy with the start when another refuses is killed.
        run.ends(2, says="damaged", is_clean=False)
    finally:
        shard.write_bytes(whole)
    return f"{damage.__name__}, refused"


def _summary(run: Run) -> str:
    """A completed run stays one."""
    damage = run.rng.choice([truncate, flip])
    run.complete()
    run.hit()
    path = run.run_folder / "summary.json"
    text = path.read_bytes()
    damage(run, path)
    run.let_go()
    run.start()
    run.ends(0, is_clean=False)
    path.write_bytes(text)
    return damage.__name__


_DAMAGES = (("cut", "truncated", truncate), ("flip", "with a bit flipped", flip))
KINDS = [
    Kind(f"{what}-{how}", f"{title} {text}", partial(_checkpoint, names=names, damage=damage))
    for what, title, names in (
        ("checkpoint", "checkpoint", _ARRAYS),
        ("state", "state.json", ("state.json",)),
    )
    for how, text, damage in _DAMAGES
]
KINDS += [
    Kind("checkpoints", "all checkpoints damaged", _all_checkpoints),
    Kind("copies", "copies of a checkpoint", _copies),
    Kind("metrics", "metrics.jsonl damaged", _metrics),
    Kind("shard", "shard damaged", _shard),
    Kind("summary", "summary.json damaged", _summary, is_last=True),
]
