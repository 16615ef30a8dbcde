"""A prediction from its options to the output folder, or this process's share of it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from tools.common.console import counted, rated_progress
from tools.common.output_folder import check_free
from tools.common.picture_files import EXTENSIONS
from tools.predict import finish
from tools.predict.dark import DarkWarning
from tools.predict.inputs import Inputs
from tools.predict.kinds import Kinds
from tools.predict.options import Options
from tools.predict.pictures import PictureJob
from tools.predict.recipes import Given
from tools.predict.scene_job import SceneJob
from tools.predict.scenes import SceneOptions
from tools.predict.share import Share
from tools.predict.work import Work, about
from train.distributed.cluster import device_target
from train.errors import UserError
from train.inference.blueprint import Blueprint
from train.inference.checkpoint_source import choose_checkpoint, on_this_disk
from train.inference.trained_model import TrainedModel
from train.process.collector import objects_kept
from train.program.ending import refusal
from train.run.checkpoint import Checkpoint, load_checkpoint
from train.storage.retry import StorageError
from train.temporary import temporary_folder

Say = Callable[[str], None]

_ENDINGS = ", ".join(EXTENSIONS)


class Job:
    """One command, in one of the processes that do it.

    Args:
        options: What to predict.
        scene_options: What is made of scenes.
        share: This process's part.
        say: Prints a line.

    Attributes:
        work: What is kept for the next start; None before there is anything.
    """

    def __init__(
        self, options: Options, scene_options: SceneOptions, share: Share, say: Say
    ) -> None:
        self._options, self._scene_options = options, scene_options
        self._share, self._say = share, say
        self._given = Given(scene_options.bands, scene_options.range)
        self.work: Work | None = None

    def run(self) -> None:
        """Do it.

        Raises:
            UserError: Something that was asked for is not possible.
            StorageError: Object storage does not answer.
        """
        # Pillow's own limit is one for all threads; ours is checked for every picture.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            self._run()
        finally:
            Image.MAX_IMAGE_PIXELS = limit

    def _run(self) -> None:
        options = self._options
        checkpoint = self._checkpoint()
        blueprint = Blueprint.of(checkpoint.state, options.run).only(options.tasks)
        self._check_options(blueprint)
        kinds = Kinds(options.forced_scenes, options.max_pixels, blueprint.config.image.size)
        with Inputs(kinds.is_scene) as inputs:
            inputs.add(options.inputs)
            if options.list is not None:
                inputs.add_list(options.list)
            self._say_what_is_left_out(inputs)
            self._predict(checkpoint, inputs, list(blueprint.config.tasks))

    def _check_options(self, blueprint: Blueprint) -> None:
        """Refuse what would be made of tasks that there are not."""
        kinds = {task.kind for task in blueprint.config.tasks.values()}
        useless = self._scene_options.without("segmentation" in kinds, "scene" in kinds)
        if useless:
            lacking = "segmentation" if "segmentation" not in kinds else "scene"
            names = ", ".join(blueprint.config.tasks)
            raise UserError(f"{', '.join(useless)}: no {lacking} task among {names}")

    def _say_what_is_left_out(self, inputs: Inputs) -> None:
        if self._share.rank == 0 and (others := inputs.left_out()):
            self._say(f"note: not looked at: {others} (folders are searched for {_ENDINGS})")
        given = self._scene_options.without(segmentation=False, scene=False)
        if given and not inputs.count(scenes=True):
            self._say(
                f"note: no scene among the inputs, so {', '.join(given)} is not used (--scenes "
                "takes every TIFF for one)"
            )

    def _checkpoint(self) -> Checkpoint:
        """Read the checkpoint, and say which one it is."""
        options = self._options
        with on_this_disk(options.run, self._say) as folder:
            path = choose_checkpoint(folder, options.checkpoint, options.run)
            try:
                checkpoint = load_checkpoint(path)
            except ValueError as error:
                raise UserError(str(error)) from None
        what = "moving average of the parameters" if checkpoint.average else "parameters"
        self._say(f"{options.run}: checkpoint of step {checkpoint.step}, {what}")
        return checkpoint

    def _predict(self, checkpoint: Checkpoint, inputs: Inputs, tasks: list[str]) -> None:
        options, share = self._options, self._share
        count, sources = inputs.count(scenes=False), inputs.scenes()
        chunks = -(-count // options.chunk)
        facts = self._facts(checkpoint, tasks, count, len(sources))
        work = Work(options.out, _digest(facts, inputs), share, chunks, bool(sources))
        again = options.overwrite and share.size == 1
        if not again and work.is_published(options.skip_unreadable):
            work.forget()
            self._say(
                f"{options.out}: already there and complete, made of the same in the same way"
            )
            return
        check_free(options.out, options.overwrite, lambda path: about(path) is not None)
        how: dict[str, Any] = {"tasks": options.tasks, "seen_as": options.seen_as}
        how |= {"flips": options.flips, "batch": options.batch, "device": options.device}
        model = TrainedModel(checkpoint, options.run, **how)
        warning = DarkWarning(self._say)
        with temporary_folder() as fetched:
            how_scenes = self._scene_options, share, fetched, warning
            scenes = SceneJob(model, work, sources, *how_scenes)
            pieces = scenes.look()
            if not (count or pieces[1] or options.skip_unreadable):
                finish.refuse_unreadable(work, scenes.unreadable())
            with self._kept(work), objects_kept():
                self._say_what_is_there(work.open(), chunks, *pieces)
                self._pictures(model, work, inputs, count, warning)
                scenes.run()
                self._finish(model, work, scenes, facts)

    @contextmanager
    def _kept(self, work: Work) -> Iterator[None]:
        """Let errors tell that nothing of what was computed is lost."""
        self.work = work
        try:
            yield
        except (OSError, UserError, StorageError) as error:
            text = refusal(error) if isinstance(error, OSError) else str(error)
            if text is None or f"is kept in {work.folder}" in text:
                raise
            told = f"{text} (what was computed is kept in {work.folder} for the next run)"
            kind = StorageError if isinstance(error, StorageError) else UserError
            raise kind(told) from None

    def _say_what_is_there(self, done: int, chunks: int, pieces: int, all_pieces: int) -> None:
        parts = [(done, chunks, "pictures"), (pieces, all_pieces, "scenes")]
        texts = [f"{n} of {total} parts of {what}" for n, total, what in parts if total]
        if done or pieces:
            self._say(f"going on with what an earlier start has left: {', '.join(texts)}")

    def _facts(
        self, checkpoint: Checkpoint, tasks: list[str], pictures: int, scene_count: int
    ) -> dict[str, Any]:
        """Return what the output folder tells of how it was made."""
        options = self._options
        return {
            "run": options.run,
            "step": checkpoint.step,
            "moving_average": bool(checkpoint.average),
            "checkpoint": checkpoint.state.get("files"),
            "tasks": tasks,
            "seen_as": options.seen_as,
            "flips": options.flips,
            "batch": options.batch,
            "device": device_target(options.device),
            "annotated": options.pictures,
            "max_pixels": options.max_pixels,
            **dataclasses.asdict(self._given),
            "pictures": pictures,
            "scenes": scene_count,
            "scene_options": dataclasses.asdict(self._scene_options) if scene_count else None,
        }

    def _pictures(
        self, model: TrainedModel, work: Work, inputs: Inputs, count: int, warning: DarkWarning
    ) -> None:
        options, size = self._options, self._options.chunk
        mine = [c for c in range(work.chunks) if self._share.mine(c) and not work.has(c)]
        total = sum(min(size, count - chunk * size) for chunk in mine)
        if not total:
            return
        how = options.max_pixels, self._given, options.pictures, warning
        pictures = PictureJob(model, work, *how)
        with rated_progress(str(options.out), total, "pictures") as advance:
            pictures.run(mine, lambda chunk: inputs.pictures(chunk * size, size), advance)

    def _finish(
        self, model: TrainedModel, work: Work, scenes: SceneJob, facts: dict[str, Any]
    ) -> None:
        """Put all together, if all is there and nobody else does it."""
        options, out = self._options, self._options.out
        if work.missing():
            if work.is_published(options.skip_unreadable):
                work.forget()
            self._say(
                f"process {self._share.rank} of {self._share.size} has done its share; the last "
                f"one makes {out}"
            )
            return
        with work.alone() as here:
            if not here:
                return
            unreadable = scenes.unreadable()
            if not options.skip_unreadable:
                finish.refuse_unreadable(work, unreadable)
            read, skipped = finish.write_tables(work, model, unreadable)
            files = scenes.finish()
            finish.write_about(work, {**facts, "skipped": skipped, "scene_files": files})
            work.publish()
        tasks = ", ".join(task.name for task in model.tasks)
        left_out = f", {skipped:,} unreadable left out (skipped.csv)" if skipped else ""
        counts = [counted(n, what) for n, what in ((read, "pictures"), (len(files), "scenes")) if n]
        self._say(f"{out}: {', '.join(counts) or 'nothing'}, tasks {tasks}{left_out}")


def _digest(facts: dict[str, Any], inputs: Inputs) -> str:
    """Return a digest of all that the answers depend on."""
    from importlib.metadata import version

    versions = {package: version(package) for package in ("mindspore", "pillow", "numpy")}
    text = json.dumps([facts, versions, inputs.digest()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
