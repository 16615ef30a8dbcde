"""The names that other programs give to the parameters of a ResNet.

Which they are is said in ``foreign_names.yaml``, beside this file.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """The part of a file that holds a trunk.

    Attributes:
        prefix: What stands before the names in it, such as ``module.encoder_q.``.
        names: By the trunk's names, those of the file, without the prefix.
        is_foreign: Whether these are PyTorch's.
    """

    prefix: str
    names: Mapping[str, str]
    is_foreign: bool


def pytorch_name(name: str) -> str:
    """Return what PyTorch calls a parameter of a ResNet: ``bn1.gamma`` is ``bn1.weight``."""
    words = _table()["words"]
    return ".".join(words.get(word, word) for word in name.split("."))


def with_pytorch_names(values: Mapping[str, T]) -> dict[str, T]:
    """Return the values of a trunk by PyTorch's names, as torchvision's networks load them.

    Of such a network ``fc`` is missing, and what counts the batches that batch norm has seen.
    """
    return {pytorch_name(name): value for name, value in values.items()}


def find_part(there: Iterable[str], trunk: Sequence[str]) -> Part | None:
    """Find the part of a file that has most of a trunk's parameters, in one way to name them.

    Args:
        there: The names in the file.
        trunk: The trunk's names.

    Returns:
        It, or None if there is nothing of the trunk.
    """
    there = list(there)
    foreign = {name: pytorch_name(name) for name in trunk}
    ways = [{name: name for name in trunk}, foreign, {n: _placed(f) for n, f in foreign.items()}]
    best, most = None, 0
    for number, names in enumerate(ways):
        counts = _prefixes(there, set(names.values()))
        for prefix in sorted(counts, key=_rank):
            if counts[prefix] > most:
                best, most = Part(prefix, names, number > 0), counts[prefix]
    return best


def _prefixes(there: Iterable[str], names: set[str]) -> Counter[str]:
    """Count for everything that stands before one of the names how many it stands before."""
    counts: Counter[str] = Counter()
    for name in there:
        words = name.split(".")
        for start in range(len(words)):
            if ".".join(words[start:]) in names:
                counts["".join(f"{word}." for word in words[:start])] += 1
    return counts


def _rank(prefix: str) -> tuple[int, int]:
    """Return the place of a part among those with as many names; shorter prefixes come first."""
    preferred: list[str] = _table()["preferred"]
    words = prefix.split(".")
    return next((i for i, w in enumerate(preferred) if w in words), len(preferred)), len(words)


def _placed(name: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{_table()['places'].get(first, first)}{dot}{rest}"


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(
        Path(__file__).with_name("foreign_names.yaml").read_text(encoding="utf-8")
    )
    return table
