"""Starting the shared branch from one that is trained already (``init_from``)."""

import contextlib
import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import mindspore as ms
from mindspore import Parameter, Tensor
from safetensors import SafetensorError
from safetensors.numpy import load_file

from train.errors import UserError
from train.model.mtln import MTLN, is_shared
from train.run.checkpoint import Arrays, Checkpoint, load_checkpoint
from train.run.checkpoint_folder import load_newest

# What a norm per data set (train.model.layers.DomainNorm) adds to the names of its parameters.
_DOMAIN = re.compile(r"\.of\.[^.]+")
# Most names that a message lists.
_LISTED = 4


def start_from(network: MTLN, path: Path) -> str:
    """Take over parameters and batch-norm statistics of the shared branch where they fit.

    They fit if name and shape are equal. A norm per data set takes the values of the norm of the
    data set's name or, where there is one norm for all, of that one. Task branches stay as they
    are.

    Args:
        network: The network; its shared branch is changed.
        path: A run folder, a checkpoint of a run, a ``.safetensors`` file or a ``.ckpt`` file of
            MindSpore. A file may hold a network (``shared.*``) or just its trunk.

    Returns:
        A line that tells how much was taken, and what was not.

    Raises:
        UserError: It cannot be read, or nothing in it fits.
    """
    source, arrays = _read(path)
    of_network = {name: values for name, values in arrays.items() if name.startswith("shared.")}
    arrays = of_network or {f"shared.trunk.{name}": values for name, values in arrays.items()}
    wanted = [p for p in network.get_parameters() if is_shared(p.name)]
    names = {p.name: p.name if p.name in arrays else _DOMAIN.sub("", p.name) for p in wanted}
    found = {name: arrays[there] for name, there in names.items() if there in arrays}
    taken = [p for p in wanted if p.name in found and found[p.name].shape == p.shape]
    if not taken:
        raise _problem(path, _why_nothing_fits(wanted, found, arrays))
    for parameter in taken:
        parameter.set_data(Tensor(found[parameter.name]))
    return f"init_from: {source}: {_report(wanted, taken, found)}"


def _read(path: Path) -> tuple[Path, Arrays]:
    """Return the file or checkpoint that a path stands for, and the arrays in it by name."""
    if not path.exists():
        raise _problem(path, "no such file or folder")
    if path.is_dir():
        source, checkpoint = _read_checkpoint(path)
        # The moving average, if there is one, is what the run evaluated.
        return source, checkpoint.average or checkpoint.model
    if path.suffix not in (".safetensors", ".ckpt"):
        raise _problem(path, "must be a run folder, a checkpoint, or a .safetensors or .ckpt file")
    try:
        return path, _read_file(path)
    except (OSError, ValueError, TypeError, SafetensorError):
        raise _problem(path, "cannot be read: damaged, or of another format") from None


def _read_checkpoint(path: Path) -> tuple[Path, Checkpoint]:
    """Read a checkpoint, or the newest whole one of a run folder."""
    with contextlib.suppress(ValueError):
        return path, load_checkpoint(path)
    newest = load_newest(path / "checkpoints")
    if newest is None:
        raise _problem(path, "neither a whole checkpoint nor a run folder that has one")
    return newest


def _read_file(path: Path) -> Arrays:
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    # Beside parameters there may be texts, which whoever saved it appended.
    content = ms.load_checkpoint(str(path))
    return {name: p.asnumpy() for name, p in content.items() if isinstance(p, Parameter)}


def _why_nothing_fits(wanted: Sequence[Parameter], found: Arrays, arrays: Arrays) -> str:
    for parameter in wanted:
        if parameter.name in found:
            there, here = found[parameter.name].shape, parameter.shape
            return f"nothing in it fits: {parameter.name} is {there} there and {here} here"
    names = _listed(p.name for p in wanted)
    return f"nothing in it fits: it has {_listed(arrays)}; the shared branch has {names}"


def _report(wanted: Sequence[Parameter], taken: Sequence[Parameter], found: Arrays) -> str:
    text = f"took {_size(taken):,} of the {_size(wanted):,} values of the shared branch"
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


def _problem(path: Path, what: str) -> UserError:
    return UserError(f"init_from: {path}: {what}")
