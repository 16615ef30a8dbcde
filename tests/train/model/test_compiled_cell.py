"""A cell that the host calls: what the cells below hear, and what its code may not do."""

import ast
from collections.abc import Iterator

from mindspore import nn

from tests.paths import ROOT
from train.model.compiled_cell import CompiledCell


class Outer(CompiledCell):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ReLU()


def test_cells_below_are_told_when_the_graph_changes() -> None:
    cell = Outer()
    cell.compile_phase = "first"
    assert cell.compile_phase == cell.inner.compile_phase == "first"
    cell.inner.compile_phase = "untouched"
    cell.compile_phase = "first"
    assert cell.inner.compile_phase == "untouched"
    cell.compile_phase = "second"
    assert cell.compile_phase == cell.inner.compile_phase == "second"


def compiled_code() -> Iterator[tuple[str, ast.FunctionDef]]:
    """The methods of all cells of the project and of its tests, each with its file."""
    for folder in ("train", "tools", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            for cell in ast.walk(ast.parse(file.read_bytes())):
                body = ast.iter_child_nodes(cell)
                methods = {m.name: m for m in body if isinstance(m, ast.FunctionDef)}
                if "construct" in methods:
                    methods.pop("__init__", None)
                    yield from ((str(file), method) for method in methods.values())


def test_compiled_code_adds_nothing_in_place() -> None:
    """Once a process has compiled ``x += y`` of tensors, it fails to compile a step with FAMO.

    MindSpore 2.10 then says ``Illegal AnfNode for evaluating``, from the second such step on.
    """
    methods = list(compiled_code())
    assert len(methods) > 100
    for file, method in methods:
        lines = [node.lineno for node in ast.walk(method) if isinstance(node, ast.AugAssign)]
        assert not lines, f"{file}, {method.name}, lines {lines}"
