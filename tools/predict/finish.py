"""The end of a job: the tables are put together, and the output folder is put in place."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tools.predict import legend, tables
from tools.predict.palette import colours_of
from tools.predict.work import ABOUT, FORMAT, Work
from train.errors import UserError
from train.inference.trained_model import TrainedModel

VERSION = 1
_SHOWN = 3


def refuse_unreadable(work: Work) -> None:
    """Raise a UserError that tells of pictures that could not be read, if there are any."""
    count = 0
    shown: list[str] = []
    for entry in entries(work):
        if "error" in entry:
            count += 1
            if len(shown) < _SHOWN:
                shown.append(f"{entry['file']} ({entry['error']})")
    if count:
        more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
        raise UserError(
            f"{count} unreadable picture{'s' if count > 1 else ''}: {'; '.join(shown)}{more} "
            f"(leave out with --skip-unreadable; what was computed is kept in {work.folder} for "
            "the next run)"
        )


def entries(work: Work) -> Iterator[dict[str, Any]]:
    """Yield what was found out about every picture, in their order."""
    for number in range(work.chunks):
        with work.chunk(number).open(encoding="utf-8") as file:
            for text in file:
                yield json.loads(text)


def write_tables(work: Work, model: TrainedModel) -> tuple[int, int]:
    """Write all tables and legends; return the pictures that were read, and those that were not."""
    kinds = {task.label_space is None for task in model.tasks}
    read = skipped = 0
    for entry in entries(work):
        read, skipped = read + ("error" not in entry), skipped + ("error" in entry)
    if read:
        work.save("predictions.jsonl", partial(_write, _lines(work)))
        if True in kinds:
            rows = _rows(work, tables.SCENE_COLUMNS, tables.scene_rows)
            work.save("predictions.csv", partial(_write, rows))
        if False in kinds:
            rows = _rows(work, tables.PIXEL_COLUMNS, tables.pixel_rows)
            work.save("shares.csv", partial(_write, rows))
    if skipped:
        rows = _rows(work, tables.SKIPPED_COLUMNS, _skipped_row, failed=True)
        work.save("skipped.csv", partial(_write, rows))
    for task in model.tasks:
        if task.label_space is not None:
            made = legend.Legend(task.name, task.classes, colours_of(model.blueprint, task))
            work.save(f"legend_{task.name}.json", made.write_json)
            work.save(f"legend_{task.name}.png", made.write_picture)
    return read, skipped


def write_about(work: Work, facts: dict[str, Any]) -> None:
    """Write what the output folder says of itself."""
    content = {"format": FORMAT, "version": VERSION, "job": work.job, **facts}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    work.save(ABOUT, partial(_write, [text]))


def _lines(work: Work) -> Iterator[str]:
    return (tables.line(entry) for entry in entries(work) if "error" not in entry)


def _rows(
    work: Work,
    columns: Iterable[object],
    rows_of: Callable[[dict[str, Any]], Iterable[list[object]]],
    failed: bool = False,
) -> Iterator[str]:
    yield tables.csv_text([columns])
    for entry in entries(work):
        if ("error" in entry) == failed:
            yield tables.csv_text(rows_of(entry))


def _skipped_row(entry: dict[str, Any]) -> list[list[object]]:
    return [[entry["file"], entry["error"]]]


def _write(parts: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
