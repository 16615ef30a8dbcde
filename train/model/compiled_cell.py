"""A cell that is called as one compiled graph, often."""

from mindspore import nn


class CompiledCell(nn.Cell):
    """Base of cells that the host calls: with small networks, what a call costs is what counts.

    With every call MindSpore tells all cells below, one by one, in which phase they are compiled:
    some milliseconds for a hundred cells. Here they are told when that changes.
    """

    @property
    def compile_phase(self) -> str:
        """The graph that was called last."""
        return str(self._compile_phase)

    @compile_phase.setter
    def compile_phase(self, value: str) -> None:
        if value != self._compile_phase:
            nn.Cell.compile_phase.fset(self, value)
