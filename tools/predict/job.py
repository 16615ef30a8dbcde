"""A prediction from its options to the output folder, or this process's share of it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from PIL import Image

from tools.common.console import rated_progress
from tools.common.output_folder import check_free
from tools.predict import finish, scenes
from tools.predict.inputs import Inputs, Source
from tools.predict.kinds import Kinds
from tools.predict.options import Options
from tools.predict.pictures import PictureJob
from tools.predict.scenes import SceneOptions
from tools.predict.share import Share
from tools.predict.work import Work, about, check_out
from train.errors import UserError
from train.inference.blueprint import Blueprint
from train.inference.checkpoint_source import choose_checkpoint, on_this_disk
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import Checkpoint, load_checkpoint
from train.temporary import temporary_folder

Say = Callable[[str], None]


class Job:
    """One command, in one of the processes that do it.

    Args:
        options: What to predict.
        scene_options: What is made of scenes.
        share: This process's part.
        say: Prints a line.
    """

    def __init__(
        self, options: Options, scene_options: SceneOptions, share: Share, say: Say
    ) -> None:
        self._options, self._scene_options = options, scene_options
        self._share, self._say = share, say

    def run(self) -> None:
        """Do it.

        Raises:
            UserError: Something that was asked for is not possible.
            StorageError: Object storage does not answer.
        """
        options = self._options
        # Pillow warns from a size on, or refuses, by itself; ours is checked for every picture.
        Image.MAX_IMAGE_PIXELS = None
        checkpoint = self._checkpoint()
        blueprint = Blueprint.of(checkpoint.state, options.run).only(options.tasks)
        kinds = Kinds(options.forced_scenes, options.max_pixels, blueprint.config.image.size)
        with Inputs(kinds.is_scene) as inputs:
            inputs.add(options.inputs)
            if options.list is not None:
                inputs.add_list(options.list)
            check_out(options.out, list(options.inputs))
            self._predict(checkpoint, inputs)

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

    def _predict(self, checkpoint: Checkpoint, inputs: Inputs) -> None:
        options, share = self._options, self._share
        count, sources = inputs.count(scenes=False), inputs.scenes()
        chunks = -(-count // options.chunk)
        facts = self._facts(checkpoint, count, len(sources))
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
        with ExitStack() as stack:
            fetched = stack.enter_context(temporary_folder())
            self._check_scenes(model, sources, fetched)
            if (done := work.open()) and done:
                self._say(f"going on with what an earlier start has left: {done} of {chunks} parts")
            self._pictures(model, work, inputs, count)
            self._scenes(model, work, sources, fetched)
            self._finish(model, work, sources, fetched, facts)

    def _facts(self, checkpoint: Checkpoint, pictures: int, scene_count: int) -> dict[str, Any]:
        """Return what the output folder tells of how it was made."""
        options = self._options
        return {
            "run": options.run,
            "step": checkpoint.step,
            "moving_average": bool(checkpoint.average),
            "checkpoint": checkpoint.state.get("files"),
            "tasks": options.tasks,
            "seen_as": options.seen_as,
            "flips": options.flips,
            "batch": options.batch,
            "device": options.device,
            "annotated": options.pictures,
            "max_pixels": options.max_pixels,
            "pictures": pictures,
            "scenes": scene_count,
            "scene_options": dataclasses.asdict(self._scene_options) if scene_count else None,
        }

    def _pictures(self, model: TrainedModel, work: Work, inputs: Inputs, count: int) -> None:
        size = self._options.chunk
        mine = [c for c in range(work.chunks) if self._share.mine(c) and not work.has(c)]
        total = sum(min(size, count - chunk * size) for chunk in mine)
        if not total:
            return
        pictures = PictureJob(model, work, self._options.max_pixels, self._options.pictures)
        with rated_progress(str(self._options.out), total, "pictures") as advance:
            pictures.run(mine, lambda chunk: inputs.pictures(chunk * size, size), advance)

    def _check_scenes(self, model: TrainedModel, sources: Sequence[Source], to: Path) -> None:
        for source in sources:
            with source.fetched(to) as path:
                scenes.check_scene(path, source.file, model, self._scene_options)

    def _scenes(self, model: TrainedModel, work: Work, sources: Sequence[Source], to: Path) -> None:
        for source in sources:
            with source.fetched(to) as path:
                width, height = scenes.scene_size(path)
                place = work.scene(source.stem)
                what = path, source.file, place, self._scene_options, self._share
                total = -(-width * height // self._share.size)
                with rated_progress(source.file, total, "pixels") as advance:
                    scenes.predict_scene(model, *what, advance)
        if sources:
            work.finish_share()

    def _finish(
        self,
        model: TrainedModel,
        work: Work,
        sources: Sequence[Source],
        to: Path,
        facts: dict[str, Any],
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
            if not options.skip_unreadable:
                finish.refuse_unreadable(work)
            read, skipped = finish.write_tables(work, model)
            files = []
            for source in sources:
                with source.fetched(to) as path:
                    place = work.scene(source.stem)
                    found = scenes.finish_scene(
                        model, path, source.file, place, self._scene_options
                    )
                    files.append({"file": source.file, "made": found})
            finish.write_about(work, {**facts, "skipped": skipped, "scene_files": files})
            work.publish()
        tasks = ", ".join(task.name for task in model.tasks)
        left_out = f", {skipped} unreadable left out (skipped.csv)" if skipped else ""
        many = f", {len(sources)} scene{'s' if len(sources) > 1 else ''}" if sources else ""
        self._say(f"{out}: {read:,} pictures{many}, tasks {tasks}{left_out}")


def _digest(facts: dict[str, Any], inputs: Inputs) -> str:
    """Return a digest of all that the answers depend on."""
    from importlib.metadata import version

    versions = {package: version(package) for package in ("mindspore", "pillow", "numpy")}
    text = json.dumps([facts, versions, inputs.digest()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
