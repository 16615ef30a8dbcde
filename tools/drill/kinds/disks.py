"""A disk that takes nothing more, for a while."""

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from tools.drill.places import Disk
from tools.drill.site import SAVE_EVERY


def _full(run: Run) -> str:
    return _while_it_lasts(run, read_only=False)


def _read_only(run: Run) -> str:
    return _while_it_lasts(run, read_only=True)


def _while_it_lasts(run: Run, read_only: bool) -> str:
    """The run goes on over a checkpoint that cannot be saved, and saves the next one."""
    disk = run.place
    assert isinstance(disk, Disk)
    run.parked()
    before = run.newest()
    run.hit()
    run.keeps_metrics = False  # its lines were for the same disk
    if read_only:
        disk.set_read_only(True)
    else:
        disk.fill()
    try:
        run.goes_on(SAVE_EVERY + 1)
        if run.newest() != before:
            raise NotSurvived("a checkpoint was saved on a disk that takes nothing")
    finally:
        if read_only:
            disk.set_read_only(False)
        else:
            disk.clear()
    run.hold("step", after=SAVE_EVERY + 1)
    if run.newest() <= before:
        raise NotSurvived("no checkpoint was saved when the disk took files again")
    return "over one checkpoint"


KINDS = [
    Kind("disk-full", "full disk", _full, "disk"),
    Kind("disk-read-only", "read-only disk", _read_only, "disk"),
]
