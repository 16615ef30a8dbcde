"""Reading the tensors of a ``.pth`` file without PyTorch (see :mod:`train.run.torch_pickle`).

Since PyTorch 1.6 such a file is a zip archive, not compressed: a pickle, and a record for every
storage. Nothing in it is believed that the archive does not bear out, so no more memory is taken
than the file has bytes.
"""

import functools
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from train.run.torch_pickle import DAMAGED, STORAGES, Refused, Storage, View, read_pickle

# How a zip archive begins, and what PyTorch wrote before 1.6: a pickle of a certain number.
_ZIP = b"PK\x03\x04"
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
# That of a ResNet-50 has 60 KB.
_MOST_PICKLE_BYTES = 64 * 2**20
_HEADER_BYTES = 30
# What zipfile makes of an archive that is none, or a damaged one.
_BROKEN = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, struct.error)
# A state in a dictionary of a dictionary ...
_MOST_NESTED = 6


def is_torch_file(path: Path) -> bool:
    """Return whether a file begins as those of PyTorch do.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(len(_LEGACY)).startswith((_ZIP, _LEGACY))


class TorchTensor:
    """A tensor in a file, which is read when numpy asks for its values (``np.asarray``).

    Attributes:
        shape: Its shape.
        is_float: Whether its values are of a floating type.
    """

    def __init__(self, archive: "_Archive", view: View) -> None:
        self.shape = view.shape
        self.is_float = view.storage.kind in _FLOATS
        self._archive, self._view = archive, view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return its values in float32, whatever they are in the file."""
        return self._archive.values(self._view).astype(dtype or np.float32, copy=False)


_FLOATS = {f"torch.{kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16")}


def read_torch_file(path: Path) -> dict[str, TorchTensor]:
    """Return the tensors of a file by name, those in dictionaries behind the names of these.

    ``{"state_dict": {"conv1.weight": tensor}}`` is ``{"state_dict.conv1.weight": tensor}``.

    Raises:
        OSError: It cannot be read.
        Refused: Something in it is neither a tensor nor a plain value, or not as it has to be.
    """
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
    if start == _LEGACY:
        raise Refused(
            "is in PyTorch's layout from before 1.6: have PyTorch save it again, with "
            "torch.save(torch.load(FILE, weights_only=True), NEW_FILE)"
        )
    try:
        archive = _Archive(path)
        tree = read_pickle(archive.pickle())
    except Refused:
        raise
    except _BROKEN:
        raise Refused(DAMAGED) from None
    found = dict(_tensors(tree))
    archive.require_room(found)
    return {name: TorchTensor(archive, view) for name, view in found.items()}


class _Archive:
    """The records of a file.

    Raises:
        zipfile.BadZipFile: It is no archive, or a damaged one.
        Refused: It is none as PyTorch writes them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            self._records = _records(archive)
            pickles = [name for name in self._records if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise Refused("is a zip archive, but none of PyTorch's: it has no data.pkl")
            self._root = pickles[0].removesuffix("data.pkl")
            order = f"{self._root}byteorder"
            if order in self._records and archive.read(order) != b"little":
                raise Refused("was written on a big-endian machine, whose numbers are not read")

    def pickle(self) -> bytes:
        """Return what describes the tensors."""
        name = f"{self._root}data.pkl"
        if self._records[name] > _MOST_PICKLE_BYTES:
            raise Refused(f"refused: its pickle has {self._records[name]:,} bytes")
        with zipfile.ZipFile(self.path) as archive:
            return archive.read(name)

    def require_room(self, views: Mapping[str, View]) -> None:
        """Check that storages are there, and that tensors have no more values than the file.

        Raises:
            Refused: They are not, or have.
        """
        for view in views.values():
            storage = view.storage
            there = self._records.get(self._record_of(storage), -1)
            if storage.size * _item_bytes(storage) > there:
                raise Refused(
                    f"damaged: storage {storage.key!s:.20} of {storage.size:,} values has "
                    f"{max(there, 0):,} bytes in the file"
                )
        # One under two names counts once.
        claimed = sum(view.size * _item_bytes(view.storage) for view in set(views.values()))
        if claimed > self.size:
            raise Refused(
                f"refused: its tensors take {claimed:,} bytes, and the file has {self.size:,}: "
                "they overlap"
            )

    def values(self, view: View) -> npt.NDArray[Any]:
        """Return the values of a tensor, float32 where they are bfloat16.

        Raises:
            Refused: The record is damaged.
        """
        storage = view.storage
        values = np.frombuffer(self._content(storage), STORAGES[storage.kind], storage.size)
        if not view.size:
            return np.zeros(view.shape, np.float32)
        strides = tuple(step * values.itemsize for step in view.strides)
        # All is inside: that was checked when the tensor was read.
        found = np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides)
        if storage.kind == "torch.BFloat16Storage":
            return (found.astype("<u4") << 16).view("<f4")
        return found

    @functools.lru_cache(maxsize=1)  # noqa: B019  tensors of one storage come one after the other
    def _content(self, storage: Storage) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self._record_of(storage))
        except _BROKEN:
            raise Refused(DAMAGED) from None

    def _record_of(self, storage: Storage) -> str:
        return f"{self._root}data/{storage.key}"


def _records(archive: zipfile.ZipFile) -> dict[str, int]:
    """Return the size of every record; none is compressed, and no two share bytes of the file."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    for info, end in zip(infos, ends, strict=True):
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise Refused("refused: it is compressed, which PyTorch never does")
        if info.header_offset < 0 or info.header_offset + _HEADER_BYTES + info.file_size > end:
            raise Refused("damaged: its records overlap")
    records = {info.filename: info.file_size for info in infos}
    if len(records) != len(infos):
        raise Refused("damaged: two of its records have one name")
    return records


def _tensors(tree: Any) -> Iterator[tuple[str, View]]:
    """Yield the tensors in dictionaries of dictionaries, each of which is looked at once."""
    waiting, seen = [("", tree, 0)], set()
    while waiting:
        prefix, part, depth = waiting.pop(0)
        if type(part) is not dict or id(part) in seen or depth > _MOST_NESTED:
            continue
        seen.add(id(part))
        for key, value in part.items():
            name = f"{prefix}{key}"
            if type(value) is View:
                yield name, value
            elif type(value) is dict:
                waiting.append((f"{name}.", value, depth + 1))


def _item_bytes(storage: Storage) -> int:
    return np.dtype(STORAGES[storage.kind]).itemsize
