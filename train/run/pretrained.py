"""Starting the shared branch from one that is trained already (``init_from``)."""

import contextlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import mindspore as ms
import numpy as np
import numpy.typing as npt
from mindspore import Parameter, Tensor
from safetensors import SafetensorError, deserialize
from safetensors.numpy import load_file

from train.errors import UserError
from train.model.mtln import MTLN, is_shared
from train.run.checkpoint import Checkpoint, load_checkpoint
from train.run.checkpoint_folder import load_newest
from train.run.foreign_names import find_part
from train.run.torch_file import is_torch_file, read_torch_file
from train.run.torch_pickle import DAMAGED, Refused

# What a norm per data set (train.model.layers.DomainNorm) adds to the names of its parameters.
_DOMAIN = re.compile(r"\.of\.[^.]+")
_TRUNK = "shared.trunk."
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
# Most names that a message lists.
_LISTED = 4


class _Values(Protocol):
    """An array, or what reads one when numpy asks for it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    def __array__(self) -> npt.NDArray[Any]:
        """Return it."""


_Arrays = Mapping[str, _Values]


def start_from(network: MTLN, path: Path, shown: str | None = None) -> str:
    """Take over parameters and batch-norm statistics of the shared branch where they fit.

    They fit if name and shape are equal. A norm per data set takes the values of the norm of the
    data set's name or, where there is one norm for all, of that one. Task branches stay as they
    are.

    Args:
        network: The network; its shared branch is changed.
        path: A run folder, a checkpoint of a run, a ``.safetensors`` file, a ``.pth`` or ``.pt``
            file of PyTorch, or a ``.ckpt`` file of MindSpore. A file may hold a network
            (``shared.*``) or just its trunk, with our names or PyTorch's (see
            :mod:`train.run.foreign_names`), behind any prefix.
        shown: What messages call it; by default the path.

    Returns:
        A line that tells how much was taken, and what was not.

    Raises:
        UserError: It cannot be read, or nothing in it fits.
    """
    source, there = _read(path, shown or str(path))
    wanted = [p for p in network.get_parameters() if is_shared(p.name)]
    arrays, note, is_foreign = _by_our_names(there, wanted)
    names = {p.name: p.name if p.name in arrays else _DOMAIN.sub("", p.name) for p in wanted}
    found = {name: arrays[there] for name, there in names.items() if there in arrays}
    taken = [p for p in wanted if p.name in found and tuple(found[p.name].shape) == p.shape]
    if not taken:
        raise _problem(source, _why_nothing_fits(wanted, found, arrays))
    try:
        values = [np.asarray(found[p.name]).astype(np.float32) for p in taken]
    except Refused as reason:
        raise _problem(source, str(reason)) from None
    if broken := [p.name for p, v in zip(taken, values, strict=True) if not np.isfinite(v).all()]:
        raise _problem(source, f"holds numbers that are not finite, for {_listed(broken)}")
    for parameter, value in zip(taken, values, strict=True):
        parameter.set_data(Tensor(value))
    if is_foreign and getattr(network.shared.trunk, "symmetric", True) is False:
        note += "; PyTorch's max-pool pads on all sides, as with model.max_pool=symmetric"
    return f"init_from: {source}: {_report(wanted, taken, found)}{note}"


def _by_our_names(there: _Arrays, wanted: Sequence[Parameter]) -> tuple[_Arrays, str, bool]:
    """Return what is in a file by the names of our networks.

    Beside it, a note on where it was, and whether it had PyTorch's names.
    """
    if of_network := {name: there[name] for name in there if name.startswith("shared.")}:
        return of_network, "", False
    trunk = [p.name.removeprefix(_TRUNK) for p in wanted if p.name.startswith(_TRUNK)]
    trunk += [_DOMAIN.sub("", name) for name in trunk]
    part = find_part(there, list(dict.fromkeys(trunk)))
    if part is None or not (part.prefix or part.is_foreign):
        return {f"{_TRUNK}{name}": values for name, values in there.items()}, "", False
    arrays = {
        f"{_TRUNK}{name}": there[f"{part.prefix}{its}"]
        for name, its in part.names.items()
        if f"{part.prefix}{its}" in there
    }
    note = f"; from {part.prefix}* in it" if part.prefix else ""
    return arrays, note, part.is_foreign


def _read(path: Path, shown: str) -> tuple[str, _Arrays]:
    """Return the file or checkpoint that a path stands for, and the arrays in it by name."""
    if not path.exists():
        raise _problem(shown, "no such file or folder")
    if path.is_dir():
        source, checkpoint = _read_checkpoint(path, shown)
        # The moving average, if there is one, is what the run evaluated.
        return shown + str(source).removeprefix(str(path)), checkpoint.average or checkpoint.model
    if path.suffix not in _SUFFIXES:
        kinds = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
        raise _problem(shown, f"must be a run folder, a checkpoint, or a {kinds} file")
    try:
        return shown, _read_file(path)
    except Refused as reason:
        raise _problem(shown, str(reason)) from None
    except (OSError, ValueError, TypeError, SafetensorError):
        raise _problem(shown, DAMAGED) from None


def _read_checkpoint(path: Path, shown: str) -> tuple[Path, Checkpoint]:
    """Read a checkpoint, or the newest whole one of a run folder."""
    with contextlib.suppress(ValueError):
        return path, load_checkpoint(path)
    newest = load_newest(path / "checkpoints")
    if newest is None:
        raise _problem(shown, "neither a whole checkpoint nor a run folder that has one")
    return newest


def _read_file(path: Path) -> _Arrays:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    # Lightning, too, calls its files .ckpt.
    if path.suffix in (".pth", ".pt") or is_torch_file(path):
        return {name: values for name, values in read_torch_file(path).items() if values.is_float}
    # Beside parameters there may be texts, which whoever saved it appended.
    content = ms.load_checkpoint(str(path))
    return {name: p.asnumpy() for name, p in content.items() if isinstance(p, Parameter)}


def _read_safetensors(path: Path) -> _Arrays:
    try:
        return load_file(path)
    except TypeError:  # numpy has no bfloat16, which is the upper half of a float32
        kinds = {"BF16": "<u2", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, part in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
            if kind := kinds.get(part["dtype"]):
                array = np.frombuffer(part["data"], kind).reshape(part["shape"])
                is_half = part["dtype"] == "BF16"
                arrays[name] = (array.astype("<u4") << 16).view("<f4") if is_half else array
        return arrays


def _why_nothing_fits(wanted: Sequence[Parameter], found: _Arrays, arrays: _Arrays) -> str:
    for parameter in wanted:
        if parameter.name in found:
            there, here = found[parameter.name].shape, parameter.shape
            return f"nothing in it fits: {parameter.name} is {there} there and {here} here"
    names = _listed(p.name for p in wanted)
    return f"nothing in it fits: it has {_listed(arrays)}; the shared branch has {names}"


def _report(wanted: Sequence[Parameter], taken: Sequence[Parameter], found: _Arrays) -> str:
    text = f"took {_size(taken):,} of the {_size(wanted):,} values of the shared branch"
    # The extractors are most of it, and no other library has them.
    have, whole = (_size(p for p in of if p.name.startswith(_TRUNK)) for of in (taken, wanted))
    text += f" ({'all' if have == whole else f'{have:,} of {whole:,}'} of the trunk)"
    if 2 * have < whole:
        text += "; less than half of the trunk: is it the file of another network?"
    used = {p.name for p in taken}
    left = [p.name for p in wanted if p.name not in used]
    absent = [name for name in left if name not in found]
    unfit = [name for name in left if name in found]
    for what, names in (("not in it", absent), ("of another shape", unfit)):
        if names:
            text += f"; {what}: {_listed(_largest_parts(names, used))}"
    return text


def _largest_parts(left: Iterable[str], used: Iterable[str]) -> list[str]:
    """Name the largest parts of the network that hold some of ``left`` and none of ``used``."""
    touched = {part for name in used for part in _parts(name)}
    # A dict, since a set would lose the order.
    return list(dict.fromkeys(next(p for p in _parts(n) if p not in touched) for n in left))


def _parts(name: str) -> Iterable[str]:
    """Yield the parts that a name is in: a.b.c -> a, a.b, a.b.c."""
    return itertools.accumulate(name.split("."), lambda part, word: f"{part}.{word}")


def _listed(names: Iterable[str]) -> str:
    words = list(names)
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return (", ".join(words[:_LISTED]) or "nothing") + more


def _size(parameters: Iterable[Parameter]) -> int:
    return sum(p.size for p in parameters)


def _problem(source: str, what: str) -> UserError:
    return UserError(f"init_from: {source}: {what}")
