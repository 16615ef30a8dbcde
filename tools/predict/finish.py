"""The end of a job: the tables are put together, and the output folder is put in place."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tools.common.console import counted, printable
from tools.predict import legend, tables
from tools.predict.palette import colours_of
from tools.predict.work import ABOUT, FORMAT, Work
from train.errors import UserError
from train.inference.trained_model import TrainedModel

VERSION = 1
_SHOWN = 3

# What is told of a picture, or of a scene that cannot be read.
Entry = dict[str, Any]


def refuse_unreadable(work: Work, scenes: Sequence[Entry]) -> None:
    """Raise a UserError that tells of what could not be read, if there is anything.

    Args:
        work: Has what was found out about the pictures.
        scenes: The scenes that could not be read.
    """
    count = 0
    shown: list[str] = []
    for entry in _unreadable(work, scenes):
        count += 1
        if len(shown) < _SHOWN:
            shown.append(printable(f"{entry['file']} ({entry['error']})"))
    if count:
        more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
        what = "scenes" if count == len(scenes) else "files" if scenes else "pictures"
        kept = f"what was computed is kept in {work.folder} for the next run"
        and_kept = f"; {kept}" if work.folder.exists() else ""
        raise UserError(
            f"{counted(count, f'unreadable {what}')}: {'; '.join(shown)}{more} (leave out with "
            f"--skip-unreadable, which lists all in skipped.csv{and_kept})"
        )


def _unreadable(work: Work, scenes: Iterable[Entry]) -> Iterator[Entry]:
    """Yield what could not be read: pictures, and then scenes."""
    yield from (entry for entry in entries(work) if "error" in entry)
    yield from scenes


def entries(work: Work) -> Iterator[Entry]:
    """Yield what was found out about every picture, in their order."""
    for number in range(work.chunks):
        with work.chunk(number).open(encoding="utf-8") as file:
            for text in file:
                yield json.loads(text)


def write_tables(work: Work, model: TrainedModel, scenes: Sequence[Entry]) -> tuple[int, int]:
    """Write all tables and legends.

    Args:
        work: Has what was found out about the pictures.
        model: The network.
        scenes: The scenes that could not be read.

    Returns:
        How many pictures were read, and how many pictures and scenes were not.
    """
    kinds = {task.label_space is None for task in model.tasks}
    read = sum("error" not in entry for entry in entries(work))
    skipped = sum(1 for _ in _unreadable(work, scenes))
    if read:
        work.save("predictions.jsonl", partial(_write, _lines(work)))
        if True in kinds:
            rows = _rows(_read(work), tables.SCENE_COLUMNS, tables.scene_rows)
            work.save("predictions.csv", partial(_write, rows))
        if False in kinds:
            rows = _rows(_read(work), tables.PIXEL_COLUMNS, tables.pixel_rows)
            work.save("shares.csv", partial(_write, rows))
    if skipped:
        rows = _rows(_unreadable(work, scenes), tables.SKIPPED_COLUMNS, _skipped_row)
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


def _read(work: Work) -> Iterator[Entry]:
    return (entry for entry in entries(work) if "error" not in entry)


def _lines(work: Work) -> Iterator[str]:
    return map(tables.line, _read(work))


def _rows(
    told: Iterable[Entry],
    columns: Iterable[object],
    rows_of: Callable[[Entry], Iterable[list[object]]],
) -> Iterator[str]:
    yield tables.csv_text([columns])
    yield from (tables.csv_text(rows_of(entry)) for entry in told)


def _skipped_row(entry: Entry) -> list[list[object]]:
    return [[entry["file"], entry["error"]]]


def _write(parts: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(parts)
