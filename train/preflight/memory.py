"""What a run needs of memory at the least, compared with what there is."""

from train.config.schema import Config
from train.config.sections import BYTES
from train.errors import UserError
from train.preflight import limits

# Memory of an Ascend 910C, in bytes.
_LARGEST_DEVICE = 128 * 10**9
# What a process with MindSpore in it has taken before it does anything.
_LEAST_OF_A_RANK = 100 * 10**6


def least_memory(config: Config, images: int) -> int:
    """Return the bytes that a step of a rank needs at the least.

    Counted are its images, of the first level of the trunk the maps that the backward pass needs,
    and of the last level the parameters with gradients and momenta. Everything else comes on top,
    so that what does not fit certainly does not.

    Args:
        config: The run.
        images: Images of a rank in a step.
    """
    pixels, model = images * _largest(config) ** 2, config.model
    width = BYTES["float32" if config.precision == "auto" else config.precision]
    channels, parameters = 64 / 4, 0.0  # at half the height and width
    if model.trunk == "wide_resnet":
        blocks = (model.depth - 4) // 6
        channels = 16.0 * model.width * blocks
        parameters = (2 * blocks - 1) * 9 * (64.0 * model.width) ** 2
    return int(pixels * (3 + width * (3 + channels)) + 3 * 4 * parameters)


def _largest(config: Config) -> int:
    return max([config.image.size, *(stage.size for stage in config.image.stages)])


def require_memory(config: Config, images: int, ranks_here: int, on_cpu: bool) -> None:
    """Check that a run may fit into the memory that there is.

    Args:
        config: The run.
        images: Images of a rank in a step.
        ranks_here: Ranks of this machine.
        on_cpu: Whether they compute in its memory.

    Raises:
        UserError: It cannot; names the key and the numbers.
    """
    there, whose = _LARGEST_DEVICE, "the largest device"
    if on_cpu:
        there, whose = (limits.memory() or there) // ranks_here, "this machine"
    has = f"and {whose} has {there / 1e9:,.1f} GB for each"
    if there < _LEAST_OF_A_RANK:
        raise UserError(
            f"nproc: {ranks_here:,} ranks need more than {_LEAST_OF_A_RANK / 1e9:g} GB of memory "
            f"each, {has}"
        )
    size, needed = _largest(config), least_memory(config, images)
    if needed > there:
        raise UserError(
            f"image.size: a step with {images:,} images of {size:,} x {size:,} pixels needs more "
            f"than {needed / 1e9:,.0f} GB of memory on every rank, {has} "
            "(batch.images_per_task and model.width count too)"
        )
    needed = config.evaluate.images * config.image.size**2 * (3 + 4 * 3)
    if needed > there:
        raise UserError(
            f"evaluate.images: {config.evaluate.images:,} images of {config.image.size:,} x "
            f"{config.image.size:,} pixels need more than {needed / 1e9:,.0f} GB of memory on "
            f"every rank, {has}"
        )
    # The records of an interval are planned at once: their numbers, and what permutes them.
    steps = min(config.schedule.consolidate_every, config.schedule.steps)
    needed = steps * images * 8 * 4
    if needed > (limits.memory() or there) // ranks_here:
        raise UserError(
            f"schedule.consolidate_every: {steps:,} steps of {images:,} images are planned at "
            f"once, which needs more than {needed / 1e9:,.0f} GB of memory on every rank: choose "
            "some hundreds"
        )
