"""A disk that takes nothing more, for a while."""

from collections.abc import Callable

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from tools.drill.places import Disk
from tools.drill.site import SAVE_EVERY

_Change = Callable[[Disk], None]


def _full(run: Run) -> str:
    return _while_it_lasts(run, Disk.fill, Disk.clear)


def _read_only(run: Run) -> str:
    return _while_it_lasts(run, Disk.forbid_writing, Disk.allow_writing)


def _while_it_lasts(run: Run, spoil: _Change, mend: _Change) -> str:
    """The run goes on over a checkpoint that cannot be saved, and saves the next one."""
    disk = run.place
    assert isinstance(disk, Disk)
    run.parked()
    before = run.newest()
    run.hit()
    run.keeps_metrics = False  # its lines were for the same disk
    spoil(disk)
    try:
        run.goes_on(SAVE_EVERY + 1)
        if run.newest() != before:
            raise NotSurvived("a checkpoint was saved on a disk that takes nothing")
    finally:
        mend(disk)
    run.hold("step", after=SAVE_EVERY + 1)
    run.require_newer(before)
    return "over one checkpoint"


KINDS = [
    Kind("disk-full", "full disk", _full, "disk"),
    Kind("disk-read-only", "read-only disk", _read_only, "disk"),
]
