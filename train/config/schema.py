"""A configuration: its keys, and what they must agree on.

The keys of every section are in :mod:`train.config.sections`; :mod:`train.config.reader` reads the
YAML file and the overrides of the command line into them.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ByteSize, Field, PositiveInt, model_validator

from train.config import sections
from train.config.marks import FREE_ON_RESUME, NOT_IN_GRAPHS
from train.config.nearest import did_you_mean
from train.config.sections import Name, Section
from train.storage.address import local_run_folder
from train.storage.settings import Location, StorageConfig, key_problem


class Config(Section):
    """One training run."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """What initial weights, order of the records and augmentations are drawn from."""
    device: Annotated[Literal["auto", "Ascend", "GPU", "CPU"], FREE_ON_RESUME] = "auto"
    """``auto``: Ascend where there is an NPU, otherwise CPU."""
    run_dir: Annotated[Location, FREE_ON_RESUME, NOT_IN_GRAPHS]
    """Run folder; ``runs/<name of the configuration file>`` if it is not given. With an address in
    object storage the run works in ``runs/<bucket>/<key>``, and its results are uploaded."""
    log_every: Annotated[PositiveInt, FREE_ON_RESUME, NOT_IN_GRAPHS] = 10
    """Steps between two lines of metrics.jsonl."""
    branches: Literal["local", "allreduce"] = "local"
    """``local``: every rank updates its task branches with its own images, and the ranks average
    them at consolidation points. ``allreduce``: all gradients are reduced (control experiment)."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Type of the feature maps, and what convolutions compute in. All else is float32, the
    parameters too, so a checkpoint does not depend on it. ``auto``: float16 on Ascend, float32 on
    other devices. ``float16`` brings a dynamic loss scale; ``bfloat16`` needs an Ascend 910B or
    later, and does not run on a CPU."""
    jit_level: Annotated[Literal["auto", "O0", "O1", "O2"], FREE_ON_RESUME] = "auto"
    """How MindSpore compiles for Ascend: ``O2`` hands whole graphs to CANN's graph engine, which
    launches each at once; with ``O0`` every operator is launched by itself, and with ``O1`` some
    are fused before. ``auto`` is O2. Other devices do not look at it."""
    init_from: Location | None = None
    """Start the shared branch from a run folder, a checkpoint of one, or a file with the weights of
    the trunk: of PyTorch (``.pth``, ``.pt``, ``.safetensors``; torchvision, timm, TorchGeo) or
    MindSpore (``.ckpt``, such as MindCV's). See tasks.md."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Exponential moving average of the model, which is then what is evaluated: decay per step;
    it is taken at consolidation points. 0 for none."""
    data_root: Annotated[Location, FREE_ON_RESUME, NOT_IN_GRAPHS] = Path()
    """Folder or address that relative ``records`` are below; by default the current folder."""
    cache: Annotated[Literal["none", "ram"], FREE_ON_RESUME] = "none"
    """``ram``: every rank keeps the decoded training images of as many data sets as fit into
    ``cache_budget``, the smallest first, and decodes the others again whenever it needs them."""
    cache_budget: Annotated[ByteSize, FREE_ON_RESUME] = ByteSize(4 * 10**9)
    """Memory for them per rank, like 500MB or 4GB."""
    check_records: Annotated[bool, FREE_ON_RESUME] = True
    """Compare all shards with the digests in their manifests before training: about a second per
    GB and rank. Without it a damaged image may be decoded to something else unnoticed."""
    datasets: Annotated[dict[Name, sections.DatasetConfig], Field(min_length=1), FREE_ON_RESUME]
    """The data sets by name."""
    tasks: dict[Name, sections.TaskConfig]
    """The tasks by name. A data set that no task names feeds a scene task of its own name."""
    batch: sections.BatchConfig = sections.BatchConfig()
    image: sections.ImageConfig = sections.ImageConfig()
    augment: sections.AugmentConfig = sections.AugmentConfig()
    model: sections.ModelConfig = sections.ModelConfig()
    loss: sections.LossConfig = sections.LossConfig()
    optimizer: sections.OptimizerConfig = sections.OptimizerConfig()
    reduction: sections.ReductionConfig = sections.ReductionConfig()
    schedule: sections.ScheduleConfig
    evaluate: Annotated[sections.EvaluateConfig, FREE_ON_RESUME] = sections.EvaluateConfig()
    checkpoint: Annotated[sections.CheckpointConfig, FREE_ON_RESUME, NOT_IN_GRAPHS] = (
        sections.CheckpointConfig()
    )
    storage: Annotated[StorageConfig, FREE_ON_RESUME, NOT_IN_GRAPHS] = StorageConfig()
    report: Annotated[bool, FREE_ON_RESUME, NOT_IN_GRAPHS] = True
    """Write ``report.html`` into the run folder at the end: curves, figures, mistakes, attention.
    Rank 0 starts ``python -m tools report`` for it, which takes a few seconds on the CPU."""
    tensorboard: Annotated[bool, FREE_ON_RESUME, NOT_IN_GRAPHS] = False
    """Write event files for TensorBoard into the folder ``tensorboard`` of the run folder while the
    run goes on; needs requirements-tensorboard.txt."""
    on_bad_record: Annotated[Literal["stop"], Field(exclude=True)] = "stop"
    """There for older configurations only: a damaged record always ends the run at the next
    consolidation point, with a checkpoint."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "Config":
        problems = [
            *self._dataset_problems(),
            *self._share_problems(),
            *self._consolidation_problems(),
            *self._balance_problems(),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def run_folder(self) -> Path:
        """The run folder on this machine."""
        return local_run_folder(str(self.run_dir))

    def records_of(self, dataset: str) -> Path:
        """Return the folder with the records of a data set: in the cache if they are in a store."""
        place = self.location_of(dataset)
        return place if isinstance(place, Path) else self.storage.local_copy(place)

    def location_of(self, dataset: str) -> Path | str:
        """Return where the records of a data set are: a folder, or an address as a text."""
        root, records = self.data_root, self.datasets[dataset].records
        if isinstance(records, str) or (isinstance(root, str) and records.is_absolute()):
            return records
        return root / records if isinstance(root, Path) else f"{root}/{records.as_posix()}"

    def augment_of(self, dataset: str) -> sections.AugmentConfig:
        """Return the augmentations of a data set."""
        return self.datasets[dataset].augment or self.augment

    def dataset_of(self, task: str) -> str:
        """Return the name of the data set that feeds a task."""
        return self.tasks[task].dataset or task

    def _dataset_problems(self) -> list[str]:
        known = ", ".join(self.datasets)
        problems = [
            f"tasks.{task}.dataset: no data set {self.dataset_of(task)!r} (there are: {known})"
            f"{did_you_mean(self.dataset_of(task), self.datasets)}"
            for task in self.tasks
            if self.dataset_of(task) not in self.datasets
        ]
        problems += [
            f"datasets.{name}.records: {problem}"
            for name in self.datasets
            if (problem := key_problem(self.location_of(name)))
        ]
        used = {self.dataset_of(task) for task in self.tasks}
        problems += [f"datasets.{d}: no task uses it" for d in self.datasets if d not in used]
        return problems

    def _share_problems(self) -> list[str]:
        shares = self.batch.shares
        if isinstance(shares, str):
            return []
        if set(shares) == {"temperature"}:
            return (
                [] if shares["temperature"] > 0 else ["batch.shares.temperature: must be above 0"]
            )
        if set(shares) != set(self.datasets):
            expected, given = ", ".join(self.datasets), ", ".join(shares)
            return [f"batch.shares: {sections.SHARES} ({expected}), not for {given}"]
        return [
            f"batch.shares.{name}: must be a whole number of images above 0, not {share:g}"
            for name, share in shares.items()
            if share < 1 or share != int(share)
        ]

    def _consolidation_problems(self) -> list[str]:
        unit = self.schedule.consolidate_every
        best = "checkpoint.keep_best: of what is never evaluated none is the best: set"
        blind = self.checkpoint.keep_best and not self.evaluate.every
        return ([f"{best} evaluate.every to a multiple of {unit}"] if blind else []) + [
            f"{section}.every: {every} is not a multiple of schedule.consolidate_every ({unit})"
            for section, every in (
                ("evaluate", self.evaluate.every),
                ("checkpoint", self.checkpoint.every),
            )
            if every % unit
        ]

    def _balance_problems(self) -> list[str]:
        balance = self.loss.balance
        if balance.rule != "fixed":
            return ["loss.balance.weights: are for rule: fixed"] if balance.weights else []
        if set(balance.weights) == set(self.tasks):
            return []
        expected, given = ", ".join(self.tasks), ", ".join(balance.weights) or "nothing"
        return [f"loss.balance.weights: must be there for {expected}, not for {given}"]
