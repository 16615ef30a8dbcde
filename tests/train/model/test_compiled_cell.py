"""Cells below one that the host calls are told of its graph when that changes, and only then."""

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
