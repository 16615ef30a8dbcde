"""What the drill does within a rank: broken numbers, a broken clock."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mindspore import Parameter, Tensor

from tools.drill.phases import Order
from train.model.mtln import split_by_branch
from train.step.replicas import _digest

if TYPE_CHECKING:
    from train.trainer import Trainer

Function = Callable[..., Any]
Given = Sequence[Any]
Named = Mapping[str, Any]
# What the function returned, and what is noted.
Done = tuple[Any, dict[str, Any]]


def flip_bit(order: Order, step: Function, given: Given, named: Named) -> Done:
    """Turn a bit over, in the shared branch ("parameter") or in what the optimizer keeps of it."""
    trainer: Trainer = given[0]
    what, bit = order.values
    if what == "parameter":
        parameter = _shared(trainer)
    else:
        parameter = next(iter(trainer.state.slots.values()))
    values = parameter.asnumpy().copy()
    values.reshape(-1).view(np.uint32)[3] ^= 1 << bit  # of a slot, the first are the shared ones
    parameter.set_data(Tensor(values))
    return step(*given, **named), {"name": parameter.name}


def spoil_statistic(order: Order, step: Function, given: Given, named: Named) -> Done:
    """Put a NaN into a statistic of batch norm, after a step."""
    result = step(*given, **named)
    trainer: Trainer = given[0]
    trainable = {p.name for p in trainer.state.trainable}
    statistic = next(p for p in trainer.state.parameters if p.name not in trainable)
    _put_nan(statistic)
    return result, {"name": statistic.name}


def spoil_gradient(order: Order, step: Function, given: Given, named: Named) -> Done:
    """Make a step whose gradient has NaN on this rank only; note what the step has changed."""
    trainer: Trainer = given[0]
    _, branches = split_by_branch(trainer.network)
    before = branches[0].asnumpy().copy()
    _put_nan(branches[0])
    digests = _digests(trainer)
    result = step(*given, **named)
    changed = [name for name, digest in _digests(trainer).items() if digest != digests[name]]
    branches[0].set_data(Tensor(before))
    return result, {"name": branches[0].name, "changed": changed}


def jump(order: Order, step: Function, given: Given, named: Named) -> Done:
    """Set the clock of this process forward or back."""
    (seconds,) = order.values
    for name, unit in (("time", 1), ("time_ns", 10**9)):
        _shift(name, seconds * unit)
    return step(*given, **named), {}


DONE: Mapping[str, Callable[..., Any]] = {
    "flip": flip_bit,
    "nan statistic": spoil_statistic,
    "nan gradient": spoil_gradient,
    "clock": jump,
}


def _shift(name: str, by: float) -> None:
    original = getattr(time, name)
    setattr(time, name, lambda: original() + by)


def _shared(trainer: "Trainer") -> Parameter:
    return split_by_branch(trainer.network)[0][0]


def _put_nan(parameter: Parameter) -> None:
    values = parameter.asnumpy().copy()
    values.reshape(-1)[0] = np.nan
    parameter.set_data(Tensor(values))


def _digests(trainer: "Trainer") -> dict[str, int]:
    return {p.name: _digest(p.asnumpy()) for p in trainer.state.everything}
