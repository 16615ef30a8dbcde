"""Object storage that is gone, for a while."""

import shutil

from tools.drill.disturbed_run import Run
from tools.drill.job import NotSurvived
from tools.drill.kinds.kind import Kind
from tools.drill.places import Store
from tools.drill.site import SAVE_EVERY


def _at_the_start(run: Run) -> str:
    """What is in the store may be newer than what is here: so the run waits for nobody."""
    store = run.place
    assert isinstance(store, Store)
    run.end()
    run.hit()
    with store.outage():
        run.let_go()
        run.start()
        run.ends(1, 2, says=run.place.run_dir)
    return "refused"


def _in_the_run(run: Run) -> str:
    """Training goes on over a checkpoint, which is uploaded when the store is back."""
    store = run.place
    assert isinstance(store, Store)
    run.parked()
    run.hit()
    with store.outage():
        run.goes_on(SAVE_EVERY + 1)
    return "over one checkpoint"


def _another_machine(run: Run) -> str:
    """The run folder is lost, and the run goes on from what is in the store."""
    run.require_checkpoints(1)
    run.hit()
    shutil.rmtree(run.run_folder)
    run.parked()
    if not run.newest() and "Resuming" in run.output():
        raise NotSurvived("it resumes from a checkpoint that is not there")
    return "from the store"


KINDS = [
    Kind("store-start", "storage outage at the start", _at_the_start, "store"),
    Kind("store-run", "storage outage in the run", _in_the_run, "store"),
    Kind("store-machine", "run folder lost, copy in storage", _another_machine, "store"),
]
