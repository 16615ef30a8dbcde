"""Where a run tells how far it is: its folder on this disk, or in object storage."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.report.runs import parsed_lines
from train.config.yaml_text import read_value
from train.errors import UserError
from train.files import parse_json
from train.storage.address import is_remote
from train.storage.digests import SUMMARY
from train.storage.run_download import CONFIG, METRICS
from train.storage.settings import retry_without_config
from train.storage.stores import File, Store, open_store, read_small

Values = dict[str, Any]
_LOG = re.compile(r"logs/attempt_(\d+)/[^/]+\.log")
_TOLD = re.compile(r"^(warning|error|note): ", re.MULTILINE)
# A log that prints a traceback at every step is not fetched again and again.
_MOST_LOG_BYTES = 2**20
_MOST_LOGS = 8
_WARNINGS = 3


@dataclass(frozen=True)
class State:
    """What a run says of itself.

    Attributes:
        config: Its configuration.
        lines: Of metrics.jsonl.
        summary: None until it is completed.
        warnings: The last ones in the logs of its newest attempt.
        logs: Of the newest attempt, how many seconds ago each was written to last, by name.
    """

    config: Values
    lines: list[Values] = field(default_factory=list)
    summary: Values | None = None
    warnings: list[str] = field(default_factory=list)
    logs: dict[str, float] = field(default_factory=dict)


class Source:
    """A run folder, which is read again whenever it is asked; what has not changed is kept.

    Args:
        place: A folder, or an address.
    """

    def __init__(self, place: str) -> None:
        self.is_remote = is_remote(place)
        if not self.is_remote and not Path(place).expanduser().is_dir():
            raise UserError(f"{place}: no such folder (a run folder is needed)")
        self._place = place
        self._store: Store = open_store(place if self.is_remote else str(Path(place).expanduser()))
        self._retry = retry_without_config()
        self._read: dict[str, tuple[File, bytes]] = {}

    def state(self) -> State:
        """Return what the run says now.

        Raises:
            UserError: It is no run folder.
            StorageError: The store does not answer.
        """
        files = self._retry.call(self._place, self._store.files)
        if CONFIG not in files:
            raise UserError(f"{self._place}: no {CONFIG} in it (a run folder is needed)")
        config = dict(
            read_value(
                self._content(CONFIG, files).decode(errors="replace"), f"{self._place}/{CONFIG}"
            )
        )
        lines = list(parsed_lines(self._content(METRICS, files))) if METRICS in files else []
        summary = None
        if SUMMARY in files:
            try:
                summary = dict(parse_json(self._content(SUMMARY, files)))
            except (ValueError, TypeError) as error:
                raise UserError(f"{self._place}: {SUMMARY}: cannot be read: {error}") from None
        logs = _newest_logs(files)
        warnings = [
            line
            for name in logs[:_MOST_LOGS]
            if files[name].size <= _MOST_LOG_BYTES
            for line in self._content(name, files).decode(errors="replace").splitlines()
            if _TOLD.match(line)
        ]
        now = time.time()
        ages = {os.path.basename(name): now - files[name].modified for name in logs}  # noqa: PTH119
        return State(config, lines, summary, warnings[-_WARNINGS:], ages)

    def _content(self, name: str, files: dict[str, File]) -> bytes:
        known, there = self._read.get(name), files[name]
        if known is None or (known[0], known[0].tag) != (there, there.tag):
            content = self._retry.call(
                f"{self._place}/{name}", lambda: read_small(self._store, name)
            )
            self._read[name] = known = there, content
        return known[1]


def _newest_logs(files: dict[str, File]) -> list[str]:
    """Return the names of the logs of the newest attempt."""
    found = {name: int(match[1]) for name in files if (match := _LOG.fullmatch(name))}
    newest = max(found.values(), default=0)
    return sorted(name for name, attempt in found.items() if attempt == newest)
