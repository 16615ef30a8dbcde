"""A cell that the host calls: what its compilation is kept from, and what the cells below hear."""

import gc

import pytest
from mindspore import nn

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


def test_nothing_is_collected_while_it_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(nn.Cell, "compile", lambda _: seen.append(gc.isenabled()))
    Outer().compile()
    assert seen == [False] and gc.isenabled()
