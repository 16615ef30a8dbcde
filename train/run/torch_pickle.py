"""What a file of PyTorch says of its tensors, read without executing anything.

Such a file describes them in a pickle, which is a program: it may name any function and call it. So
Python's own ``pickle`` is not used. A machine of our own runs the program, and knows only the
instructions with which PyTorch writes tensors, dictionaries, lists, texts and numbers; whatever
else a program wants is refused, and named.
"""

import math
import pickletools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# The storages by the type that a pickle names, as numpy has their values; bfloat16 is the upper
# half of a float32.
STORAGES = {
    "torch.FloatStorage": "<f4",
    "torch.DoubleStorage": "<f8",
    "torch.HalfStorage": "<f2",
    "torch.BFloat16Storage": "<u2",
    "torch.LongStorage": "<i8",
    "torch.IntStorage": "<i4",
    "torch.ShortStorage": "<i2",
    "torch.CharStorage": "<i1",
    "torch.ByteStorage": "<u1",
    "torch.BoolStorage": "<u1",
}
DAMAGED = "cannot be read: damaged, or of another format"
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_DICTIONARY = "collections.OrderedDict"
_NAMES = {_TENSOR, _PARAMETER, _DICTIONARY, *STORAGES}
_KEYS = (str, int, float, bool, type(None))
# More axes than numpy's arrays can have are none of a tensor.
_MOST_AXES = 32


class Refused(ValueError):
    """A file is not read; the message is what a user should know, in one line."""


class _Damaged(Exception):
    """A program that no version of PyTorch has written."""


@dataclass(frozen=True)
class Storage:
    """Values of one type, one after the other, which tensors are views of.

    Attributes:
        kind: The name of its type, one of :data:`STORAGES`.
        key: Its name in the file.
        size: How many values it has.
    """

    kind: str
    key: str
    size: int


@dataclass(frozen=True)
class View:
    """A tensor: where in a storage its values are. All of them are in it.

    Attributes:
        storage: The storage.
        offset: The place of its first value.
        shape: Its shape.
        strides: How many values lie between neighbours, for every axis.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class _Name:
    """A function or type that a program has named."""

    name: str


def read_pickle(content: bytes) -> Any:
    """Return what a pickle of PyTorch holds; its tensors are :class:`View`.

    Raises:
        Refused: It names something that is neither a tensor nor a plain value, or is damaged.
    """
    machine = _Machine()
    try:
        for instruction, argument, _ in pickletools.genops(content):
            machine.run(instruction.name, argument)
        return machine.stack.pop()
    except Refused:
        raise
    # What comes from a program that is nonsense, from pickletools' reading of it too.
    except (_Damaged, ValueError, IndexError, KeyError, TypeError, ArithmeticError):
        raise Refused(DAMAGED) from None


class _Machine:
    """The stack, the stacks below its marks, and what was remembered."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, instruction: str, argument: Any) -> None:
        """Carry out one instruction."""
        if instruction in _IGNORED:
            return
        if instruction in _VALUES:
            self.stack.append(argument)
        elif instruction in _CONSTANTS:
            self.stack.append(_CONSTANTS[instruction]())
        elif instruction in _GETS:
            self.stack.append(self.memo[argument])
        elif instruction in _PUTS:
            self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]
        elif (action := _ACTIONS.get(instruction)) is not None:
            action(self, argument)
        else:
            raise Refused(
                f"refused: its pickle uses {instruction}, which neither tensors nor plain values "
                "need"
            )

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def taken(self) -> list[Any]:
        """Return what is above the last mark, and forget both."""
        items, self.stack = self.stack, self.below.pop()
        return items

    def push_tuple(self, items: Sequence[Any]) -> None:
        self.stack.append(tuple(items))

    def last(self, count: int) -> list[Any]:
        """Take the last items off the stack, in their order."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def append(self, items: Sequence[Any]) -> None:
        _plain(self.stack[-1], list).extend(items)

    def set_items(self, items: Sequence[Any]) -> None:
        _fill(_plain(self.stack[-1], dict), zip(items[::2], items[1::2], strict=True))

    def name(self, name: str) -> None:
        if name not in _NAMES:
            raise Refused(
                f"refused: it names {name!s:.80}, and only tensors and plain values are read, "
                "since a pickle can run any program (save the state_dict alone)"
            )
        self.stack.append(_Name(name))

    def stack_name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name(f"{_plain(module, str)}.{_plain(name, str)}")

    def call(self, _: Any) -> None:
        arguments, function = _plain(self.stack.pop(), tuple), _plain(self.stack.pop(), _Name)
        if function.name == _DICTIONARY:
            self.stack.append(_fill({}, *arguments))
        elif function.name == _TENSOR:
            self.stack.append(_view(*arguments[:4]))
        elif function.name == _PARAMETER:
            self.stack.append(_plain(arguments[0], View))
        else:
            raise _Damaged

    def build(self, _: Any) -> None:
        """What a dictionary has beside its items, such as versions: nothing that is needed."""
        self.stack.pop()
        _plain(self.stack[-1], dict)

    def storage(self, _: Any) -> None:
        what, kind, key, _, size = _plain(self.stack.pop(), tuple)
        if what != "storage" or _plain(kind, _Name).name not in STORAGES:
            raise _Damaged
        self.stack.append(Storage(kind.name, _plain(key, str), _count(size)))


_IGNORED = {"PROTO", "FRAME", "STOP"}
_VALUES = {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINFLOAT"}
_VALUES |= {"BININT", "BININT1", "BININT2", "LONG1", "LONG4"}
_GETS = {"BINGET", "LONG_BINGET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "TUPLE": lambda m, _: m.push_tuple(m.taken()),
    "TUPLE1": lambda m, _: m.push_tuple(m.last(1)),
    "TUPLE2": lambda m, _: m.push_tuple(m.last(2)),
    "TUPLE3": lambda m, _: m.push_tuple(m.last(3)),
    "APPEND": lambda m, _: m.append(m.last(1)),
    "APPENDS": lambda m, _: m.append(m.taken()),
    "SETITEM": lambda m, _: m.set_items(m.last(2)),
    "SETITEMS": lambda m, _: m.set_items(m.taken()),
    # pickletools gives module and name with a blank between them.
    "GLOBAL": lambda m, argument: m.name(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.storage,
}


def _plain(value: Any, kind: type) -> Any:
    """Return a value that must be of a type."""
    if type(value) is not kind:
        raise _Damaged
    return value


def _fill(into: dict[Any, Any], pairs: Any = ()) -> dict[Any, Any]:
    for key, value in pairs:
        # To hash tuples of tuples could take for ever.
        if type(key) not in _KEYS:
            raise Refused("refused: a key of a dictionary is neither a text nor a number")
        into[key] = value
    return into


def _count(value: Any) -> int:
    """Return a number of values."""
    if type(value) is not int or not 0 <= value < 2**63:
        raise _Damaged
    return value


def _view(storage: Storage, offset: Any, shape: Any, strides: Any) -> View:
    """Return a tensor; all of its values are in its storage, and no more than that has.

    Raises:
        Refused: They are not.
    """
    _plain(storage, Storage)
    sizes, steps = (tuple(map(_count, _plain(axes, tuple))) for axes in (shape, strides))
    if len(sizes) != len(steps) or len(sizes) > _MOST_AXES:
        raise _Damaged
    view = View(storage, _count(offset), sizes, steps)
    last = view.offset + sum((n - 1) * step for n, step in zip(sizes, steps, strict=True))
    if view.size > storage.size or (view.size and last >= storage.size):
        raise Refused(
            f"damaged: a tensor of shape {sizes!s:.80} reaches beyond its storage, which has "
            f"{storage.size:,} values"
        )
    return view
