"""Changes to modules of another program as soon as it imports them; all else of it stays."""

import importlib.util
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NoReturn

Change = Callable[[Any], None]


def run_changed(program: str, changes: Mapping[str, Change]) -> NoReturn:
    """Run ``python -m PROGRAM`` in this process.

    Args:
        program: Name of the package.
        changes: Called with a module once it is loaded, by its name.
    """
    after_import(changes)
    runpy.run_module(program, run_name="__main__", alter_sys=True)
    sys.exit(0)


def after_import(changes: Mapping[str, Change]) -> None:
    """Have modules changed once they are loaded, by their name."""
    sys.meta_path.insert(0, _Finder(changes))


class _Finder(MetaPathFinder):
    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._changes = dict(changes)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        change = self._changes.pop(name, None)
        spec = importlib.util.find_spec(name) if change else None
        if change is None or spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        vars(spec.loader)["exec_module"] = load_and_change
        return spec
