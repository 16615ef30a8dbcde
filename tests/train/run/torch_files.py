"""Files as PyTorch writes them since 1.6, written without it: a pickle and storages in a zip."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "u1": "ByteStorage",
}


class Raw(bytes):
    """Instructions of a pickle, to stand where a value would."""


def name(module: str, attribute: str) -> bytes:
    """What names something: its module's attribute."""
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def call(function: bytes, *arguments: Any) -> Raw:
    """What calls a function with values."""
    values = b"".join(map(instructions, arguments))
    return Raw(function + pickle.MARK + values + pickle.TUPLE + pickle.REDUCE)


def tensor(
    key: str, count: int, offset: int, shape: Any, strides: Any, kind: str = "FloatStorage"
) -> Raw:
    """A tensor of a storage."""
    parts = ["storage", Raw(name("torch", kind)), key, "cpu", count]
    stored = Raw(instructions(tuple(parts)) + pickle.BINPERSID)
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return call(rebuild, stored, offset, tuple(shape), tuple(strides), False, ORDERED)


ORDERED = Raw(name("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE)


def parameter(of: Raw) -> Raw:
    return call(name("torch._utils", "_rebuild_parameter"), of, True, ORDERED)


def instructions(value: Any) -> bytes:
    """What puts a value on the stack."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, str):
        text = value.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(text)) + text
    if value is None or isinstance(value, bool):
        return {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return pickle.BININT + struct.pack("<i", value)
        content = pickle.encode_long(value)
        return pickle.LONG1 + bytes([len(content)]) + content
    if isinstance(value, float):
        return pickle.BINFLOAT + struct.pack(">d", value)
    if isinstance(value, tuple):
        return pickle.MARK + b"".join(map(instructions, value)) + pickle.TUPLE
    if isinstance(value, list):
        return b"".join([pickle.EMPTY_LIST, pickle.MARK, *map(instructions, value), pickle.APPENDS])
    items = [instructions(part) for pair in value.items() for part in pair]
    return b"".join([ORDERED, pickle.MARK, *items, pickle.SETITEMS])


def archive(
    tree: Any,
    storages: Mapping[str, bytes],
    compression: int = zipfile.ZIP_STORED,
    byteorder: bytes = b"little",
) -> bytes:
    """A file with what is in a tree, and its storages."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        file.writestr("weights/data.pkl", pickle.PROTO + b"\x02" + instructions(tree) + pickle.STOP)
        file.writestr("weights/byteorder", byteorder)
        for key, values in storages.items():
            file.writestr(f"weights/data/{key}", values)
        file.writestr("weights/version", b"3\n")
    return content.getvalue()


def save(path: Path, tree: Any) -> None:
    """Write arrays in dictionaries of dictionaries as torch.save writes tensors."""
    storages: dict[str, bytes] = {}

    def stored(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: stored(value) for key, value in part.items()}
        if not isinstance(part, np.ndarray):
            return part
        key, values = str(len(storages)), np.ascontiguousarray(part)
        storages[key] = values.tobytes()
        strides = [step // values.itemsize for step in values.strides]
        kind = STORAGES[values.dtype.str[1:]]
        return tensor(key, values.size, 0, part.shape, strides[: part.ndim], kind)

    path.write_bytes(archive(stored(tree), storages))
