"""What the checks find."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Violation:
    """One thing that makes a rank table wrong.

    Attributes:
        path: where, as ``server_list[0].device[3].device_ip``.
        problem: what is wrong.
        remedy: what to do about it.
    """

    path: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """Returns it as one line."""
        return f"{self.path}: {self.problem} -> {self.remedy}"


@dataclass
class Report:
    """All that is wrong with a table, and apart from that what may surprise its user."""

    violations: list[Violation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, path: str, problem: str, remedy: str) -> None:
        """Adds a violation; an empty path stands for the table as a whole."""
        self.violations.append(Violation(path or "(top level)", problem, remedy))

    def note(self, text: str) -> None:
        """Adds a note."""
        self.notes.append(text)
