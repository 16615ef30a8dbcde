"""Event files for TensorBoard, beside metrics.jsonl and with what it says.

TensorBoard is not needed by anything else, so it is imported only where a run asks for it.
"""

import contextlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from train.files import parse_json

# In the run folder; the names of the files in it are what TensorBoard looks for.
FOLDER = "tensorboard"
_PREFIX = "events.out.tfevents"

_OF_THE_RUN = (
    *("learning_rate", "gradient_norm", "loss_scale"),
    *("images_per_second", "data_wait", "saving"),
)
# Of an evaluation; always the same.
_COUNTS = ("images", "pixels")


def is_installed() -> bool:
    """Return whether event files can be written."""
    return importlib.util.find_spec("tensorboard") is not None


class EventFiles:
    """The event file of a run, which grows with its metrics.

    A run that goes on writes a new one, of all that counts, and empties those before: a step is
    never in two of them, whatever reads them. A TensorBoard that looks on begins anew with the new
    one; it would get stuck at a file that has gone.

    Args:
        folder: Where they are; made when the run begins.
        say: Called with a line when they cannot be written; then there are no more.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._file: Any = None

    def begin(self, metrics: Path) -> None:
        """Write what metrics.jsonl says so far."""
        with self._dispensable():
            self._folder.mkdir(exist_ok=True)
            for old in self._folder.glob(f"{_PREFIX}.*"):
                os.truncate(old, 0)
            self._file = EventFile(self._folder, "run")
            for line in metrics.read_bytes().splitlines():
                with contextlib.suppress(ValueError):
                    self._file.add_scalars(parse_json(line))
            self._file.flush()

    def add(self, line: Mapping[str, Any]) -> None:
        """Write what a new line of metrics.jsonl says."""
        if self._file is not None:
            with self._dispensable():
                self._file.add_scalars(line)
                self._file.flush()

    @contextlib.contextmanager
    def _dispensable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._file = None
            self._say(f"warning: {self._folder}: {error.strerror}; no event files from here on")


class EventFile:
    """One file of TensorBoard's format.

    Args:
        folder: Where it is.
        name: How its name ends.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, folder: Path, name: str) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._events = event_pb2
        # Later ones come later in the order of their names, in which TensorBoard reads them.
        path = folder / f"{_PREFIX}.{time.time():.6f}.{name}"
        self._file = path.open("xb")
        self._writer = RecordWriter(self._file)
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(time.time(), 0, file_version="brain.Event:2")
        # What was read from files before this one does not count any more.
        if name == "run":
            self._write(time.time(), 0, session_log=start)

    def add_scalars(self, line: Mapping[str, Any]) -> None:
        """Add the values of a line of metrics.jsonl."""
        from tensorboard.compat.proto import summary_pb2

        values = [
            summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(line)
        ]
        if values:
            summary = summary_pb2.Summary(value=values)
            self._write(float(line["time"]), int(line["step"]), summary=summary)

    def add_picture(self, tag: str, step: int, png: bytes, width: int, height: int) -> None:
        """Add a picture, encoded as PNG."""
        from tensorboard.compat.proto import summary_pb2

        image = summary_pb2.Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=png
        )
        value = summary_pb2.Summary.Value(tag=tag, image=image)
        self._write(time.time(), step, summary=summary_pb2.Summary(value=[value]))

    def flush(self) -> None:
        """Let readers see what was added."""
        self._writer.flush()

    def _write(self, wall: float, step: int, **what: Any) -> None:
        event = self._events.Event(wall_time=wall, step=step, **what)
        self._writer.write(event.SerializeToString())


def scalars(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield tags and values of a line of metrics.jsonl, what is not known left out."""
    kind, tasks = line.get("kind"), line.get("tasks") or {}
    found: list[tuple[str, Any]] = []
    if kind == "train":
        found.append(("loss/sum", line.get("loss")))
        found += [
            (f"{k}/{task}", v.get(k)) for task, v in tasks.items() for k in ("loss", "weight")
        ]
        found += [(f"run/{key}", line.get(key)) for key in _OF_THE_RUN]
    elif kind == "evaluation":
        split = line.get("split")
        found += [
            (f"{split}_{key}/{task}", value)
            for task, values in tasks.items()
            for key, value in values.items()
            if key not in _COUNTS
        ]
    for tag, value in found:
        if isinstance(value, (int, float)):
            yield tag, float(value)
