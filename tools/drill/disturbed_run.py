"""A run that is hit by one fault after another, and what must hold after each."""

import random
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.drill import phases, traces
from tools.drill.job import Ended, Job, NotSurvived, kill_all
from tools.drill.phases import Order
from tools.drill.places import Place
from tools.drill.site import SAVE_EVERY, STEPS, Site

_NOTHING = "nothing"


@dataclass
class Hit:
    """A fault, and how long it kept the run from training.

    Attributes:
        at: When, in seconds of ``time.monotonic``.
        down: Seconds from there to the end of the job.
        seconds: Seconds that training stood still; None as long as it has not gone on.
    """

    at: float = field(default_factory=time.monotonic)
    down: float = 0.0
    seconds: float | None = None


class Run:
    """A run under the drill. Between two faults it is held at a step, or does not run.

    Args:
        site: What it shares with all runs.
        place: Where it writes.
        folder: Where the drill keeps what it needs for this run.
        rng: What is left to chance.

    Attributes:
        job: The job that runs; None if there is none.
        hits: The faults so far.
        start_seconds: How long the last start took to its first step.
        step: How many steps the rank had made that was held last.
        keeps_metrics: Whether metrics.jsonl must be whole in the end.
    """

    def __init__(self, site: Site, place: Place, folder: Path, rng: random.Random) -> None:
        self.site, self.place, self.folder, self.rng = site, place, folder, rng
        self.job: Job | None = None
        self.hits: list[Hit] = []
        self.start_seconds = 5.0
        self.keeps_metrics = True
        self.step = 0
        self._numbers = 0
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._shared_memory = traces.shared_memory()
        self._excused: list[str] = []
        self.order(_NOTHING)

    @property
    def run_folder(self) -> Path:
        """The run folder, as this process sees it."""
        return self.place.run_folder

    @property
    def last_rank(self) -> int:
        """The highest rank."""
        return self.site.nproc - 1

    # --- orders to the ranks ---------------------------------------------------------------

    def order(self, phase: str, **options: Any) -> Order:
        """Give the ranks an order; whoever is held goes on."""
        self._numbers += 1
        order = Order(self._numbers, phase, **options)
        phases.give(self.folder, order)
        return order

    def let_go(self) -> None:
        """Hold nobody any more."""
        self.order(_NOTHING)

    def wait_for(self, order: Order, rank: int | None = None) -> dict[str, Any]:
        """Wait until a rank has come to where an order is about; return what it noted."""
        assert self.job is not None
        rank = order.rank if rank is None else rank
        where = f"rank {rank} has not come to the {order.phase} number {order.after} from here"
        self.job.wait(lambda: phases.noted(self.folder, order, rank) is not None, where)
        facts = phases.noted(self.folder, order, rank) or {}
        if facts.get("step") is not None:
            self.step = int(facts["step"])
        return facts

    def hold(self, phase: str, rank: int = 0, after: int = 1) -> None:
        """Have a rank go on to a phase and stay there."""
        self.wait_for(self.order(phase, rank=rank, after=after))

    # --- jobs ------------------------------------------------------------------------------

    def command(
        self, options: Sequence[str] = (), program: str = "tools.drill.launcher"
    ) -> list[str]:
        """Return the arguments of the interpreter that start the run, or let it go on."""
        where = [f"nproc={self.site.nproc}", f"run_dir={self.place.run_dir}"]
        # A rank that is asked to stop may have to compile its step first.
        return ["-m", program, str(self.site.config), *where, "--grace", "120", *options]

    def launch(
        self,
        options: Sequence[str] = (),
        program: str = "tools.drill.launcher",
        variables: Mapping[str, str] | None = None,
    ) -> Job:
        """Start a job beside whatever runs."""
        given = self.site.variables(self._temporary)
        everything = {**given, **self.place.variables, **(variables or {})}
        command = self.command(options, program)
        return Job(command, self.folder, self.folder, everything, self.place.prefix)

    def start(self, options: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> Job:
        """Start the job, without waiting for anything; one that runs is ended first."""
        self.end()
        self.job = self.launch(options, variables=variables)
        return self.job

    def parked(self, options: Sequence[str] = ()) -> Job:
        """Return the job, held at a step after its first; started if it does not run."""
        if self.job is None or options:
            self.end()
            order = self.order("step", after=2)
            self.start(options)
            at = float(self.wait_for(order)["time"])
            assert self.job is not None
            self._recovered(at - self.job.began)
            self.start_seconds = at - self.job.began
        assert self.job is not None
        return self.job

    def held(self, phase: str, variables: Mapping[str, str] | None = None) -> Job:
        """Return the job, with rank 0 held in a phase; started if it does not run."""
        if phase == "compile":
            order = self.order(phase)
            self.start(variables=variables)
            self.wait_for(order)
        else:
            self.parked()
            self.hold(phase)
        assert self.job is not None
        return self.job

    def end(self) -> None:
        """End the job, if it runs, in the quickest way there is."""
        if self.job is not None:
            self.job.process.kill()
            self.job.finish()
            self.job = None
            traces.require_no_process(self.folder)
            self._excuse()

    # --- a fault and its consequences ------------------------------------------------------

    def hit(self) -> None:
        """Note that the fault hits now."""
        self.hits.append(Hit())

    def goes_on(self, steps: int = 2) -> None:
        """Check that a job that is held makes further steps, and hold it again after them.

        Raises:
            NotSurvived: It does not.
        """
        at = self.wait_for(self.order("step", after=2))["time"]
        self._recovered(at - self.hits[-1].at)
        if steps > 1:
            self.hold("step", after=steps)

    def ends(self, *codes: int, says: str = "", is_clean: bool = True) -> Ended:
        """Check how a job ends.

        Args:
            codes: The exit codes that are right.
            says: What must be among what it prints.
            is_clean: Whether it has to remove what it has made, or the next one.

        Raises:
            NotSurvived: It ends otherwise, or leaves something behind.
        """
        assert self.job is not None
        ended = self.job.finish()
        self.job = None
        self.hits[-1].down = ended.time - self.hits[-1].at
        if ended.code not in codes:
            told = " ".join(ended.err.split())[-300:]
            raise NotSurvived(f"exit code {ended.code} instead of {codes[0]}: {told}")
        if says not in ended.out + ended.err:
            told = " ".join(ended.err.split())[-300:]
            raise NotSurvived(f"it does not say {says!r}, but: {told}")
        if 2 in codes and "Traceback" in ended.err:
            raise NotSurvived("a mistake or a refusal ends in a traceback")
        traces.require_no_process(self.folder)
        left = self._leftovers()
        if is_clean and left:
            raise NotSurvived(f"left behind: {', '.join(left[:3])}")
        self._excuse()
        return ended

    def newest(self) -> int:
        """Return the step of the newest whole checkpoint, 0 without one."""
        return traces.newest_step(self.run_folder)

    def require_checkpoints(self, number: int) -> None:
        """Bring the run to where it has so many whole checkpoints, and end the job."""
        if len(traces.whole_checkpoints(self.run_folder)) < number:
            self.parked()
            whole = traces.whole_checkpoints
            while len(whole(self.run_folder)) < number:
                self.hold("step", after=3)
        self.end()

    def require_kept(self, step: int) -> None:
        """Check that the newest whole checkpoint is not older than one of this step.

        Raises:
            NotSurvived: It is.
        """
        if (newest := self.newest()) < step:
            raise NotSurvived(f"there was a checkpoint of step {step}, and now of {newest} only")

    def require_newer(self, step: int) -> None:
        """Check that a checkpoint after this step is there, or will be: a thread writes them.

        Raises:
            NotSurvived: It does not come.
        """
        assert self.job is not None
        self.job.wait(lambda: self.newest() > step, f"nothing is saved after step {step}")

    def away_from_a_checkpoint(self) -> None:
        """Have the job, which is held at a step, go on to where it saves nothing soon."""
        self.hold("step")
        if (left := SAVE_EVERY - self.step % SAVE_EVERY) < 5:
            self.hold("step", after=left + 2)

    def settle(self) -> None:
        """Give a signal the time to come to every rank, which is held."""
        time.sleep(0.2)

    def output(self) -> str:
        """Return what the job that runs has printed so far."""
        assert self.job is not None
        return self.job.output()

    def check(self) -> None:
        """Check what has been saved so far, after a fault.

        Raises:
            NotSurvived: It is not what the undisturbed run has saved.
        """
        traces.require_equal(self.run_folder, self.site.reference)

    def complete(self) -> None:
        """Let the run come to its end, by the plain command, and compare.

        Raises:
            NotSurvived: It does not come, is another, or leaves something behind.
        """
        self._excused = []
        self.let_go()
        began = time.time()
        job, self.job = self.job or self.launch(program="launch"), None
        ended = job.finish()
        if (first := traces.first_step_since(began, self.run_folder)) is not None:
            self._recovered(first - began)
        if ended.code != 0:
            told = " ".join(ended.err.split())[-300:]
            raise NotSurvived(f"the same command ends with exit code {ended.code}: {told}")
        traces.require_no_process(self.folder)
        traces.require_same_end(self.run_folder, self.site.reference)
        if self.keeps_metrics:
            traces.require_same_steps(self.run_folder, self.site.reference)
        if left := self._leftovers():
            raise NotSurvived(f"left behind in the end: {', '.join(left[:3])}")

    def close(self) -> None:
        """Leave no process behind, whatever has happened."""
        kill_all(self.folder)
        if self.job is not None:
            self.job.process.wait()

    def _recovered(self, seconds: float) -> None:
        """Note that a start, or the job after a fault, has made its first step."""
        for hit in self.hits:
            if hit.seconds is None:
                hit.seconds = hit.down + seconds

    def _leftovers(self) -> list[str]:
        found = traces.leftovers(self.run_folder, self._temporary, self._shared_memory)
        return [path for path in found if path not in self._excused]

    def _excuse(self) -> None:
        """Do not ask again for what was there at the end of a job: the next is to remove it."""
        self._excused = traces.leftovers(self.run_folder, self._temporary, self._shared_memory)


def is_nearly_done(run: Run) -> bool:
    """Return whether a run has no room for another fault."""
    # One that lasts over a checkpoint takes the steps to the next but one.
    return max(run.newest(), run.step) > STEPS - 3 * SAVE_EVERY


SIGKILL_CODE = 128 + signal.SIGKILL
