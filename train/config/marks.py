"""Marks that keys of a configuration bear where they are declared.

``Annotated[int, FREE_ON_RESUME]`` marks a key and all that is below it. A key without a mark is
taken to change what is learned, and every graph: then a run is refused that could have gone on, or
a graph compiled once more than need be, but nothing goes wrong unnoticed.
"""

from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import BaseModel


@dataclass(frozen=True)
class Mark:
    """Something that is true of a key, whatever its value.

    Attributes:
        meaning: What is true of it.
    """

    meaning: str


FREE_ON_RESUME = Mark("may differ between a run and its continuation: it changes nothing learned")
NOT_IN_GRAPHS = Mark("no compiled graph depends on it: a place, or how often something is written")


def marked(section: type[BaseModel], mark: Mark) -> dict[str, Any]:
    """Return the keys of a section that bear a mark, in the form of pydantic's ``exclude``.

    Args:
        section: The section or the whole configuration. Sections in it are looked into, those in
            lists and mappings (``datasets``, ``tasks``) are not.
        mark: The mark.

    Returns:
        ``{"run_dir": True, "reduction": {"bucket_mb": True}, ...}``.
    """
    keys: dict[str, Any] = {}
    for name, field in section.model_fields.items():
        if mark in field.metadata:
            keys[name] = True
        elif is_section(field.annotation) and (below := marked(field.annotation, mark)):
            keys[name] = below
    return keys


def is_section(kind: object) -> TypeGuard[type[BaseModel]]:
    """Return whether the type of a key is a section, with keys of its own."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)
