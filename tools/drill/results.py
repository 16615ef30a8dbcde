"""What a drill has found: the table, and the file that holds it."""

import datetime
import json
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.results import describe_machine
from tools.common import console
from tools.common.command_line import refused
from tools.common.page_part import PagePart
from tools.drill.disturbed_run import Hit
from tools.drill.kinds import KINDS
from train.errors import UserError

_FORMAT = {"format": "mtln-drill", "version": 1}
# Of the notes below a table in a terminal.
_WIDTH = 100
_HEADINGS: list[object] = ["fault", "tries", "survived", "median s", "worst s"]
_NOTHING = "-"
PART = PagePart(
    "<!-- tools drill: begin of the table -->", "<!-- tools drill: end of the table -->"
)
# Of a kind that the user has left out.
NOT_ASKED_FOR = "not asked for (--kinds)"


@dataclass
class Tried:
    """A fault that was tried.

    Attributes:
        key: Its kind.
        chain: The chain it was in.
        detail: What was left to chance.
        problem: Why it was not survived; None if it was.
        hit: When it hit.
    """

    key: str
    chain: str
    detail: str = ""
    problem: str | None = None
    hit: Hit | None = None

    @property
    def seconds(self) -> float | None:
        """How long training stood still; None if that is not known."""
        return None if self.hit is None else self.hit.seconds

    def tree(self) -> dict[str, Any]:
        """Return plain values."""
        seconds = None if self.seconds is None else round(self.seconds, 3)
        return {"kind": self.key, "chain": self.chain, "detail": self.detail,
                "problem": self.problem, "seconds": seconds}  # fmt: skip


@dataclass
class Document:
    """The results of a drill.

    Attributes:
        command: What was run.
        faults: One for every fault that was tried, as plain values.
        not_tried: Why the other kinds were not, by key.
        machine: What it ran on.
        when: Date.
    """

    command: str
    faults: Sequence[Mapping[str, Any]]
    not_tried: Mapping[str, str]
    machine: Mapping[str, Any] = field(default_factory=describe_machine)
    when: str = field(
        default_factory=lambda: datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    )

    @property
    def problems(self) -> list[str]:
        """One line for every fault that was not survived, or for all of a run."""
        found = {(one["chain"], one["problem"]): one["kind"] for one in self.faults}
        return [
            f"{kind} (--chain {chain}): {problem}"
            for (chain, problem), kind in found.items()
            if problem is not None
        ]

    def table(self, markdown: bool = False) -> str:
        """Return the table, every kind a row, with a note below it for those not tried."""
        rows: list[list[object]] = [_HEADINGS]
        for key, kind in KINDS.items():
            if self.not_tried.get(key) == NOT_ASKED_FOR:
                continue
            found = [one for one in self.faults if one["kind"] == key]
            if not found:
                rows.append([kind.title, "not tried", *[_NOTHING] * 3])
                continue
            seconds = [one["seconds"] for one in found if one["seconds"] is not None]
            times = [_NOTHING] * 2
            if seconds:
                times = [f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"]
            survived = sum(one["problem"] is None for one in found)
            rows.append([kind.title, len(found), survived, *times])
        survived = sum(one["problem"] is None for one in self.faults)
        rows.append(["all", len(self.faults), survived, _NOTHING, _NOTHING])
        lines = [console.table(rows, markdown)]
        reasons: dict[str, list[str]] = {}
        for key, why in self.not_tried.items():
            reasons.setdefault(why, []).append(key)
        notes = [f"not tried: {', '.join(keys)}: {why}" for why, keys in reasons.items()]
        lines += notes if markdown else [textwrap.fill(note, _WIDTH) for note in notes]
        return ("\n\n" if markdown else "\n").join(lines)

    def markdown(self) -> str:
        """Return the table with how it was made, for a page."""
        machine = self.machine
        versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
        made = f"`{self.command}`: {machine['processor']}, {machine['cores']} cores, {versions}; "
        return f"{self.table(markdown=True)}\n\n{made}{self.when}."

    def write(self, path: Path) -> None:
        """Write it as JSON.

        Raises:
            UserError: It cannot be written.
        """
        with refused(path, "cannot be written"):
            path.write_text(json.dumps({**_FORMAT, **vars(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> "Document":
        """Read what :meth:`write` has written.

        Raises:
            UserError: It cannot be read, or is something else.
        """
        with refused(path, "cannot be read"):
            tree = json.loads(path.read_text(encoding="utf-8"))
        if not _FORMAT.items() <= tree.items():
            raise UserError(f"{path}: not a file that tools drill --out has written")
        return cls(**{key: value for key, value in tree.items() if key not in _FORMAT})
