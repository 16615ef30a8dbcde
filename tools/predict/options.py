"""What to predict, and how."""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from tools.common.command_line import check_ranges
from train.errors import UserError


@dataclass(frozen=True)
class Options:
    """What to predict, and how: what ``--help`` says of the options of the same names.

    Attributes:
        run: Run folder, checkpoint or address.
        inputs: Paths and addresses.
        out: Folder to make.
        list: File that names further inputs.
        checkpoint: Which checkpoint of a run.
        tasks: Names of tasks; None: all.
        seen_as: Name of the data set as one of which pictures are seen; None: each task's own.
        flips: Whether mirror images are averaged.
        batch: Pictures of one call.
        device: Name of the device, or ``auto``.
        pictures: Whether annotated copies are made.
        skip_unreadable: Whether pictures that cannot be read are left out.
        overwrite: Whether ``out`` may be replaced.
        max_pixels: Most pixels of a picture.
        forced_scenes: Whether all are scenes (True) or pictures (False); None: it depends.
    """

    run: str
    inputs: tuple[str, ...]
    out: Path
    list: Path | None
    checkpoint: str
    tasks: tuple[str, ...] | None
    seen_as: str | None
    flips: bool
    batch: int
    device: str
    pictures: bool
    skip_unreadable: bool
    overwrite: bool
    max_pixels: int
    forced_scenes: bool | None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Options":
        """Read the command line.

        Raises:
            UserError: A value is not allowed, or nothing is named.
        """
        a = arguments
        tasks = None
        if a.tasks is not None:
            names = (name.strip() for name in a.tasks.split(","))
            tasks = tuple(dict.fromkeys(filter(None, names)))
            if not tasks:
                raise UserError(f"--tasks {a.tasks!r}: must be names, as in coast,roofs")
        if a.scenes and a.as_pictures:
            raise UserError("--scenes and --as-pictures contradict each other")
        forced = True if a.scenes else False if a.as_pictures else None
        if not a.inputs and a.list is None:
            raise UserError("nothing to predict: name pictures, folders or addresses, or a --list")
        places = a.run, tuple(a.inputs), a.out, a.list
        switches = a.pictures, a.skip_unreadable, a.overwrite
        how = a.seen_as, a.flips, a.batch, a.device
        options = cls(*places, a.checkpoint, tasks, *how, *switches, a.max_pixels, forced)
        check_ranges(options, {"batch": (1, 4096), "max_pixels": (1, 2**31 - 1)})
        return options

    @property
    def chunk(self) -> int:
        """How many pictures are finished together; some batches, so that few are half full."""
        return self.batch * math.ceil(64 / self.batch)
