"""From a run to a folder that holds its network in another format, compared and described.

Importing this imports MindSpore.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor

from tools.common.command_line import require_packages
from tools.common.output_folder import check_free, whole_folder
from tools.export import figures
from tools.export.about import ABOUT, FORMAT, describe
from tools.export.card import Card
from tools.export.forms import FORMS, REQUIREMENTS, Form, Wanted
from tools.export.options import Options
from tools.export.replay import Comparison, Floats, Images, pictures
from tools.export.subject import Subject
from train.data.manifest import Manifest, RecordSet
from train.errors import UserError
from train.files import read_json
from train.inference.blueprint import NETWORK, Blueprint
from train.inference.checkpoint_source import choose_checkpoint, on_this_disk
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import Checkpoint, load_checkpoint
from train.storage.run_download import CHECKPOINTS

CARD = "README.md"
_READABLE = 0o644
# Pictures that the network itself sees at once.
_BATCH = 8
_STAC = ("stac_model", "pystac")


def export(options: Options, say: Callable[[str], None]) -> None:
    """Do what the command line asks for.

    Raises:
        UserError: Something that is asked for is not there or cannot be; or what was written
            answers otherwise than the network, and is not kept.
        StorageError: The store does not answer.
    """
    check_free(options.out, options.overwrite, is_ours)
    FORMS[options.form].require(options.form)
    if options.stac:
        require_packages("--stac", REQUIREMENTS, *_STAC)
    with on_this_disk(options.run, say) as folder:
        path = choose_checkpoint(folder, options.checkpoint, options.run)
        _Export(options, folder, path, say).write()


def is_ours(folder: Path) -> bool:
    """Return whether a folder was made by this command."""
    try:
        return bool(read_json(folder / ABOUT)["format"] == FORMAT)
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass
class _Export:
    """One export.

    Attributes:
        options: What is asked for.
        folder: The run, or the checkpoint itself.
        path: The checkpoint.
        say: Prints a line.
    """

    options: Options
    folder: Path
    path: Path
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        options = self.options
        self.checkpoint = _in_float32(self.path)
        whole = Blueprint.of(self.checkpoint.state, options.run)
        tasks, seen_as = options.tasks, options.seen_as
        self.trained = TrainedModel(
            self.checkpoint, options.run, tasks=tasks, seen_as=seen_as, device="CPU"
        )
        sets = self.trained.blueprint.sets
        self.sets: Sequence[RecordSet] = [whole.dataset(seen_as)] if seen_as else sets
        self.subject = Subject.of(self.trained, self.sets)
        self.config = whole.config
        self.summary = figures.read_summary(self._run_folder(), self.checkpoint.step)
        what = "moving average of the parameters" if self.checkpoint.average else "parameters"
        self.checkpoint_name = f"step {self.checkpoint.step}, {what}"
        if options.deepness:
            self._require_one_segmentation()

    def write(self) -> None:
        """Make the folder, or nothing."""
        options = self.options
        size = options.size or self.subject.image_size
        self.say(f"{options.run}: checkpoint of {self.checkpoint_name}")
        wanted = Wanted(
            options.answers,
            options.batch,
            size,
            options.deepness,
            options.resolution,
            options.python,
        )
        form = FORMS[options.form](wanted)
        with whole_folder(options.out, options.overwrite, is_ours) as out:
            about = describe(self.subject, self.sets, options.form, options.answers)
            about["checkpoint"] = {"step": self.checkpoint.step, "name": self.path.name}
            _write_json(out / ABOUT, about)
            form.write(self.subject, out, about)
            about["checked"] = self._checked(form, out, size)
            _write_json(out / ABOUT, about)
            self._describe(form, out, about, size)
            for file in out.iterdir():
                file.chmod(_READABLE)  # some libraries let nobody else read what they write
        self.say(f"{about['checked']}\nwritten: {options.out} ({options.form})")

    def _checked(self, form: Form, out: Path, size: int) -> str:
        shown = pictures(self.config, self.sets, size)
        found = form.replay(self.subject, out, shown, lambda: self._logits(shown.pixels))
        if isinstance(found, Comparison) and not found.holds:
            raise UserError(
                f"{self.options.out}: not made, since what was written answers otherwise than the "
                f"network: {found}"
            )
        return f"{'compared' if isinstance(found, Comparison) else 'not compared'}: {found}"

    def _logits(self, images: Images) -> list[Floats]:
        """Return what the network itself answers, (n, K) or (n, K, H, W) for every task."""
        parts = []
        with _operator_by_operator():
            for first in range(0, len(images), _BATCH):
                pixels = Tensor(images[first : first + _BATCH])
                answers = self.trained.network(*(pixels for _ in self.sets))
                parts.append([answer.asnumpy() for answer in answers])
        return [np.concatenate(of_task) for of_task in zip(*parts, strict=True)]

    def _describe(self, form: Form, out: Path, about: dict[str, Any], size: int) -> None:
        options = self.options
        tasks = {task.name: task.kind for task in self.subject.tasks}
        sets = [_with_splits(self.config.records_of(s.name), s) for s in self.sets]
        of_val = {s.name: s.num_records("val") for s in sets}
        counts = {t: of_val.get(self.config.dataset_of(t), 0) for t in tasks}
        card = Card(
            about,
            self.config,
            sets,
            figures.rows(self.summary, self.checkpoint, tasks, counts),
            self.checkpoint_name,
            self.summary,
            "deepness" if options.deepness else options.form,
            {"size": size, "input": self.subject.input_name, "batch": options.batch},
            options.license,
            options.cite,
        )
        (out / CARD).write_text(card.text(), encoding="utf-8")
        if options.stac:
            from tools.export import stac_item

            stac_item.write(out, about, form.file, options.license, options.deepness)

    def _run_folder(self) -> Path:
        above = self.path.absolute().parent
        return above.parent if above.name == CHECKPOINTS else self.folder

    def _require_one_segmentation(self) -> None:
        kinds = {task.name: task.kind for task in self.subject.tasks}
        if list(kinds.values()) != ["segmentation"]:
            pixels = [name for name, kind in kinds.items() if kind == "segmentation"]
            hint = f"--tasks {pixels[0]}" if pixels else "this run has none"
            raise UserError(f"--deepness: is for one segmentation task, not {len(kinds)} ({hint})")


@contextmanager
def _operator_by_operator() -> Iterator[None]:
    """Compile nothing, which for a few pictures would take longest."""
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        ms.set_context(mode=before)


def _in_float32(path: Path) -> Checkpoint:
    """Return a checkpoint whose network computes in float32, which is what is exported."""
    try:
        checkpoint = load_checkpoint(path)
    except ValueError as error:
        raise UserError(str(error)) from None
    network = checkpoint.state.get(NETWORK)
    if network is None:
        return checkpoint  # refused where it is read
    config = {**network["config"], "precision": "float32"}
    return replace(checkpoint, state={**checkpoint.state, NETWORK: {**network, "config": config}})


def _with_splits(folder: Path, record_set: RecordSet) -> RecordSet:
    """Return a data set with its splits, where its records are still the ones that were trained."""
    try:
        manifest = Manifest.read_alone(folder)
    except UserError:
        return record_set
    same = (manifest.mean, manifest.std) == (record_set.manifest.mean, record_set.manifest.std)
    return RecordSet(record_set.name, folder, manifest) if same else record_set


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
