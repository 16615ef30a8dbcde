"""The sections of a configuration: every value has its meaning, unit and default here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from train.config.marks import FREE_ON_RESUME
from train.storage.settings import Location
from train.tasks.registry import DEFAULT_KIND, KINDS

# Names become parts of parameter names, file names and table headings.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
# The floating types that a step can compute in, and that its gradients can travel in.
Precision = Literal["float32", "float16", "bfloat16"]
JitLevel = Literal["O0", "O1", "O2"]
# At a thousand steps a second, which no device makes, a run of so many takes four months.
MOST_STEPS = 10**10
BYTES: dict[Precision, int] = {"float32": 4, "float16": 2, "bfloat16": 2}


class Section(BaseModel):
    """Part of a configuration: unknown keys are errors, values do not change once read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class AugmentConfig(Section):
    """Random changes of the training images. All off: the whole image, resized."""

    crop_area: tuple[PositiveFloat, PositiveFloat] | None = (0.4, 1.0)
    """Random-resized crop: smallest and largest part of the image's area; null for none."""
    crop_aspect: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.25)
    """Smallest and largest width / height of the crop."""
    flips: bool = True
    """Left-right and up-down, each for every second image: there is no "up" seen from above."""
    quarter_turns: bool = True
    """Turn every second image by 90 degrees; with the flips, all eight orientations."""
    brightness: Fraction = 0.2
    """Factor 1 - b to 1 + b."""
    contrast: Fraction = 0.2
    """Factor 1 - c to 1 + c."""
    saturation: Fraction = 0.0
    """Factor 1 - s to 1 + s; 0 leaves it."""
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Shift by -h to h of the colour circle; 0 leaves it."""
    mixup: NonNegativeFloat = 0.0
    """MixUp (Zhang et al., ICLR 2018): every image is blended with another one of its data set and
    part of the mixed batch, by a weight drawn from Beta(mixup, mixup); 0 for none."""
    cutmix: NonNegativeFloat = 0.0
    """CutMix (Yun et al., ICCV 2019): every image gets a rectangle of another one, whose area is
    drawn from Beta(cutmix, cutmix); 0 for none. With ``mixup`` too, each takes half the steps."""
    mix_probability: Fraction = 1.0
    """Part of the steps in which images are mixed."""

    @field_validator("crop_area", "crop_aspect")
    @classmethod
    def _range_is_in_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError(f"must be the smallest first, then the largest, not {list(value)}")
        return value

    @property
    def mixes(self) -> bool:
        """Whether images are mixed at all."""
        return self.mix_probability > 0 and (self.mixup > 0 or self.cutmix > 0)


class DatasetConfig(Section):
    """One data set, as ``tools prepare`` wrote it."""

    records: Location
    """Folder with MindRecord shards and manifest.json, or its address in object storage."""
    augment: AugmentConfig | None = None
    """Augmentations of this data set; what is not given here is taken from ``augment``."""

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_the_records(cls, value: object) -> object:
        return {"records": value} if isinstance(value, (str, Path)) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        section = handler.resolve_ref_schema(handler(core))
        plain = {"type": "string", "description": "The same as {records: ...}."}
        return {"anyOf": [section, plain]}


class TaskConfig(Section):
    """One task: what is learned from a data set."""

    dataset: Name | None = None
    """The data set that feeds it; by default the one of the task's own name."""
    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})] = DEFAULT_KIND
    """A kind of the registry: ``scene``, one label per image; ``segmentation``, one per pixel, from
    masks."""
    masks: Name | None = None
    """Segmentation: the label space of the masks; by default the only one that the data set has."""
    classes: PositiveInt | None = None
    """Expected number of classes; it is an error if the manifest disagrees."""

    @field_validator("kind")
    @classmethod
    def _kind_is_known(cls, value: str) -> str:
        if value not in KINDS:
            known = " or ".join(map(repr, KINDS))
            raise ValueError(f"must be {known}, not {value!r}")
        return value

    @model_validator(mode="after")
    def _masks_are_used(self) -> "TaskConfig":
        if self.masks is not None and not KINDS[self.kind].needs_masks:
            with_masks = " or ".join(name for name, kind in KINDS.items() if kind.needs_masks)
            raise ValueError(f"masks: only a task of kind {with_masks} has them")
        return self


SHARES = "must be equal, proportional, {temperature: T} or images per data set"


class BatchConfig(Section):
    """The mixed batch of a step, over all ranks."""

    images_per_task: Annotated[int, Field(gt=0, le=10**7)] = 16
    """Mean number of images per data set."""
    shares: Literal["equal", "proportional"] | dict[str, float] = "equal"
    """How the images are divided among the data sets: ``equal``; ``proportional`` to their training
    records; ``{temperature: T}``, proportional to records ** (1 / T); or images per data set.
    Every rank needs at least one image of every data set."""

    @field_validator("shares", mode="before")
    @classmethod
    def _shares_are_a_rule_or_numbers(cls, value: object) -> object:
        numbers = isinstance(value, dict) and all(type(v) in (int, float) for v in value.values())
        if value in ("equal", "proportional") or numbers:
            return value
        raise ValueError(f"{SHARES}, not {value!r}")


class SizeStage(Section):
    """A first part of the run with smaller images."""

    until: Fraction
    """The stage ends at this fraction of the steps (at the next consolidation point)."""
    size: Annotated[int, Field(ge=8)]
    """Height and width in pixels."""


class ImageConfig(Section):
    """Size of the images that the network sees."""

    size: Annotated[int, Field(ge=8)] = 48
    """Height and width in pixels, in evaluation always and in training after the stages."""
    stages: list[SizeStage] = []
    """Smaller images first ("progressive resizing"): much cheaper, and hardly less accurate."""

    @model_validator(mode="after")
    def _stages_are_in_order(self) -> "ImageConfig":
        ends = [stage.until for stage in self.stages]
        if ends != sorted(set(ends)):
            raise ValueError(f"the stages must have growing 'until', not {ends}")
        return self


class ModelConfig(Section):
    """The network: a shared trunk, and a branch and head per task."""

    trunk: Literal["wide_resnet", "resnet18", "resnet34", "resnet50"] = "wide_resnet"
    """``wide_resnet`` has strides 1, 2, 4, 8 and is made for small images, the others 4, 8, 16,
    32."""
    depth: Annotated[int, Field(le=1000)] = 16
    """Convolutions of a wide ResNet: 10, 16, 22, 28, ..."""
    width: PositiveInt = 2
    """Factor of a wide ResNet's channels."""
    max_pool: Literal["same", "symmetric"] = "same"
    """Where a ResNet's max-pool pads maps of even size: ``same``, below and right, as MindCV;
    ``symmetric``, on all sides, as PyTorch. So weights from there compute what they do there; with
    the other one, they see images that are shifted by two pixels."""
    norm: Literal["batch", "group", "domain"] = "batch"
    """``group`` makes N ranks with b images equal one rank with N * b images. ``domain``: batch
    norm in the shared branch with statistics, scales and shifts per data set (Chang et al., CVPR
    2019)."""
    branch: Literal["attention", "linear"] = "attention"
    """``attention``: MTLN, attention modules per task. ``linear``: heads on the trunk's own maps
    ("hard parameter sharing"), the usual baseline."""
    decoder_channels: PositiveInt = 32
    """Channels of the decoder of a segmentation task."""

    @model_validator(mode="after")
    def _depth_fits(self) -> "ModelConfig":
        if self.trunk != "wide_resnet":
            defaults = (type(self).model_fields[key].default for key in ("depth", "width"))
            if (self.depth, self.width) != tuple(defaults):
                raise ValueError(f"depth and width are of wide_resnet, not of {self.trunk}")
        elif self.max_pool != "same":
            raise ValueError("max_pool is of the ResNets; wide_resnet has none")
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ValueError(f"depth must be 10, 16, 22, 28, ... (6 n + 4), not {self.depth}")
        return self


class BalanceConfig(Section):
    """How the losses of the tasks are weighted.

    The weights of ``equal``, ``dwa`` and ``famo`` have the mean 1, those of ``uncertainty`` go to
    1 / (2 loss).
    """

    rule: Literal["equal", "fixed", "uncertainty", "dwa", "famo"] = "equal"
    """``equal``: all 1. ``fixed``: ``weights``. ``uncertainty``: learned log-variances (Kendall et
    al., CVPR 2018). ``dwa``: dynamic weight average (Liu et al., CVPR 2019), anew at every
    consolidation point. ``famo``: fast adaptive multitask optimization (Liu et al., NeurIPS 2023);
    it costs a second forward pass per step, which batch norm counts in its statistics too."""
    weights: dict[Name, PositiveFloat] = {}
    """fixed only: the weight of every task."""
    temperature: PositiveFloat = 2.0
    """dwa only: the larger, the more alike the weights."""
    learning_rate: PositiveFloat = 0.025
    """uncertainty and famo only: of what is learned about the weights."""
    decay: NonNegativeFloat = 0.001
    """famo only: weight decay of what is learned, towards equal weights."""


class LossConfig(Section):
    """Cross-entropy per task; the tasks' losses are added."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Scene tasks: probability that is spread evenly over all classes."""
    dice: NonNegativeFloat = 0.0
    """Segmentation tasks: weight of a Dice loss beside the cross-entropy; 0 for none."""
    balance: BalanceConfig = BalanceConfig()


class OptimizerConfig(Section):
    """Optimizer. Losses are means over the images, so is what ``learning_rate`` refers to."""

    name: Literal["sgd", "adamw"] = "sgd"
    """``sgd``: with momentum. ``adamw``: Adam with decoupled weight decay."""
    learning_rate: PositiveFloat = 0.05
    """Peak of the schedule."""
    trunk_rate: PositiveFloat = 1.0
    """Factor of the learning rate for the trunk, such as 0.1 for one that is trained already."""
    freeze_trunk: NonNegativeInt = 0
    """So many steps at the start leave the trunk as it is, and run it as evaluation does, with the
    statistics that its norms have. Where it thaws, a second graph is compiled. Not less than
    ``schedule.steps``: it never does."""
    weight_decay: NonNegativeFloat = 5e-4
    """On weights; never on biases and the scales of norms."""
    clip_norm: NonNegativeFloat = 0.0
    """Largest global norm of the reduced gradient; 0 for no limit."""
    momentum: Decay = 0.9
    """sgd only."""
    nesterov: bool = True
    """sgd only."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """adamw only."""
    epsilon: PositiveFloat = 1e-8
    """adamw only."""


class ReductionConfig(Section):
    """How the gradients get to the other ranks."""

    precision: Precision = "float32"
    """Type of the gradients on the wire; the losses and the norm beside them are float32 always.
    With one of 16 bits half as many bytes travel. ``float16`` brings a dynamic loss scale here too;
    ``bfloat16`` on a CPU needs MPI."""
    bucket_mb: Annotated[NonNegativeFloat, FREE_ON_RESUME] = 0.0
    """Largest message in MB (10^6 bytes); 0 for one message. Gradients are cut between parameters
    (so a larger one has a message of its own) and sent in the order in which the backward pass is
    done with them. Made for devices that compute and send at the same time; on a CPU it does not
    pay."""


class ScheduleConfig(Section):
    """Length of the run and learning rate over it: linear warm-up, then a cosine to zero."""

    steps: Annotated[int, Field(gt=0, le=MOST_STEPS)]
    """Length of the run. A completed run can be made longer: see docs/configuration.md."""
    warmup: Fraction = 0.1
    """Fraction of the steps."""
    consolidate_every: PositiveInt = 50
    """Steps between two consolidation points, where the ranks average their task branches."""


class EvaluateConfig(Section):
    """Evaluation; only at consolidation points, and always at the end on ``val`` and ``test``."""

    every: NonNegativeInt = 0
    """Steps between evaluations on ``val`` during training; 0 for none."""
    images: Annotated[int, Field(gt=0, le=10**7)] = 96
    """Images per rank and evaluation step, mirror images included, divided among the data sets by
    their size."""
    flips: bool = False
    """Average the answers for an image and its three mirror images: four times the work."""


class CheckpointConfig(Section):
    """Checkpoints; only at consolidation points, and always at the end."""

    every: NonNegativeInt = 0
    """Steps between checkpoints; 0 for one at the end only."""
    keep: PositiveInt = 2
    """How many of the newest ones are kept."""
    keep_best: bool = False
    """Keep the one with the best mean of the tasks' main metrics on ``val`` beside them, and save
    whenever an evaluation gives a better one; ``checkpoints/best.json`` says which it is. Needs
    ``evaluate.every``."""
    wait_seconds: NonNegativeFloat = 600.0
    """How long the end of a run tries to write its last checkpoint and its summary to a disk that
    is full or gone."""
