"""How the parts of the project may depend on each other, read from their imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("train", "launch", "rank_tables", "tools")

# What programs that must start at once may use of train: nothing here is slow to import.
LIGHT = {
    "train.errors",
    "train.environment",
    "train.files",
    "train.preflight.limits",
    "train.storage.address",
    "train.temporary",
}


def modules() -> dict[str, Path]:
    """All modules by name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports, in functions and for type checkers too."""

    def named(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)

    used = {text for node in ast.walk(ast.parse(path.read_text())) for text in named(node)}
    # Of a package and a module in it, imported by one statement, only the module counts.
    exact = {text for text in used if text in known and text != name}
    return {text for text in exact if not any(o.startswith(f"{text}.") for o in exact)}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(name, path, known) for name, path in known.items()}


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")


def test_no_module_imports_itself_by_way_of_others(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 100
    assert_no_circle(graph)


def room(name: str) -> str:
    """The room of train that a module is in; a module at the top is a room of its own."""
    return ".".join(name.split(".")[:2])


def test_no_arrow_between_rooms_of_train_runs_back(graph: dict[str, set[str]]) -> None:
    rooms: dict[str, set[str]] = {}
    for name, used in graph.items():
        if name.startswith("train."):
            # A module that imports nothing of ours cannot run back: names, constants, addresses.
            others = {room(other) for other in used if other.startswith("train.") and graph[other]}
            rooms.setdefault(room(name), set()).update(others - {room(name)})
    assert_no_circle(rooms)


def test_native_operators_know_nothing_of_the_network(graph: dict[str, set[str]]) -> None:
    used = {o for name, others in graph.items() if name.startswith("train.native") for o in others}
    assert {o for o in used if not o.startswith("train.native")} <= LIGHT


@pytest.mark.parametrize("package", ["launch", "rank_tables"])
def test_what_starts_at_once_imports_nothing_slow(package: str) -> None:
    """In a process of its own, as other tests have imported all of it already."""
    slow = ("mindspore", "numpy", "pydantic", "rich", "s3fs")
    program = f"import sys, {package}.__main__; print([m for m in {slow!r} if m in sys.modules])"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
