"""Which number an attempt's logs have in object storage, so that no log overwrites another's.

Every machine that a run goes on upon counts its attempts from 0. The number in the store is noted
beside the logs, for later starts and for the other nodes of the job.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from pathlib import Path

LOGS = "logs"
_ATTEMPT = "attempt_"
# Begins with a dot, so it counts as no log.
_NOTE = ".number_there"


def noted_numbers(run_dir: Path) -> dict[int, int]:
    """Return the numbers in the store, by those here, that are noted in a run folder."""
    numbers = {}
    for path in (run_dir / LOGS).glob(f"{_ATTEMPT}*/{_NOTE}"):
        here, there = path.parent.name.removeprefix(_ATTEMPT), path.read_text(encoding="utf-8")
        if here.isdecimal() and there.isdecimal():
            numbers[int(here)] = int(there)
    return numbers


def note_number(run_dir: Path, here: int, there: int) -> None:
    """Note the number of an attempt in the store."""
    path = run_dir / LOGS / f"{_ATTEMPT}{here}" / _NOTE
    path.write_text(str(there), encoding="utf-8")


def choose_numbers(run_dir: Path, here: Collection[str], there: Collection[str]) -> dict[int, int]:
    """Return the numbers in the store, by those here; new ones are chosen and noted.

    An attempt keeps its number unless a log of the same name has it there already.

    Args:
        run_dir: The run folder.
        here: Names of all its files.
        there: Names of all files of the run folder in the store.
    """
    numbers = noted_numbers(run_dir)
    logs: dict[int, list[str]] = {}
    for name in here:
        if (split := _split(name)) is not None:
            logs.setdefault(split[0], []).append(split[1])
    for attempt in sorted(logs.keys() - numbers.keys()):
        numbers[attempt] = next(
            number
            for number in itertools.count(attempt)
            if number not in numbers.values()
            and not any(f"{LOGS}/{_ATTEMPT}{number}/{log}" in there for log in logs[attempt])
        )
        note_number(run_dir, attempt, numbers[attempt])
    return numbers


def name_there(name: str, numbers: dict[int, int]) -> str:
    """Return the name in the store of a file of the run folder."""
    split = _split(name)
    if split is None or split[0] not in numbers:
        return name
    return f"{LOGS}/{_ATTEMPT}{numbers[split[0]]}/{split[1]}"


def _split(name: str) -> tuple[int, str] | None:
    """Return number of the attempt and name below its folder; None for what is no such log."""
    prefix = f"{LOGS}/{_ATTEMPT}"
    number, _, log = name.removeprefix(prefix).partition("/")
    return (int(number), log) if name.startswith(prefix) and log and number.isdecimal() else None
