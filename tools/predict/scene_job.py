"""The scenes of a job: looked at, computed, and put together, but for those that cannot be read."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.common.console import printable, rated_progress
from tools.predict import scenes
from tools.predict.dark import DarkWarning
from tools.predict.inputs import Source
from tools.predict.scenes import SceneOptions, UnreadableScene
from tools.predict.share import Share
from tools.predict.work import Work
from train.inference.trained_model import TrainedModel


class SceneJob:
    """What is done with every scene. Like a picture, one that cannot be read does not stop others.

    Args:
        model: The network.
        work: Where the results go.
        sources: The scenes.
        options: What is made of them.
        share: Which pieces are this process's.
        folder: Where scenes from object storage are for a while.
        warning: Warns of scenes that are nearly black.
    """

    def __init__(
        self,
        model: TrainedModel,
        work: Work,
        sources: Sequence[Source],
        options: SceneOptions,
        share: Share,
        folder: Path,
        warning: DarkWarning,
    ) -> None:
        self._model, self._work, self._sources = model, work, sources
        self._options, self._share = options, share
        self._folder, self._warning = folder, warning
        # By number, why those cannot be read of which this process has found out.
        self._unreadable: dict[int, str] = {}

    def look(self) -> tuple[int, int]:
        """Look at all scenes; return how many pieces of them are there, and how many there will be.

        Raises:
            UserError: The options do not fit, or rasterio is not installed.
        """
        done = pieces = 0
        for number, source in self._readable():
            with self._tried(number), source.fetched(self._folder) as path:
                what = path, source.file, self._model, self._options
                look = scenes.check_scene(*what, self._work.scene(source.stem))
                self._warning.look_at(source.file, look.spread)
                done, pieces = done + look.done, pieces + look.pieces
        return done, pieces

    def run(self) -> None:
        """Compute this process's share of the scenes."""
        if not self._sources:
            return
        for number, source in self._readable():
            place = self._work.scene(source.stem)
            place.mkdir(parents=True, exist_ok=True)
            with self._tried(number), source.fetched(self._folder) as path:
                width, height = scenes.scene_size(path)
                total = -(-width * height // self._share.size)
                what = path, source.file, place, self._options, self._share
                with rated_progress(printable(source.file), total, "pixels") as advance:
                    scenes.predict_scene(self._model, *what, advance)
        for number, reason in self._unreadable.items():
            self._work.leave_scene_out(number, reason)
        self._work.finish_share()

    def unreadable(self) -> list[dict[str, Any]]:
        """Return the scenes that cannot be read, as ``finish`` takes them."""
        found = sorted({**self._work.unreadable_scenes(), **self._unreadable}.items())
        return [{"file": self._sources[number].file, "error": text} for number, text in found]

    def finish(self) -> list[dict[str, Any]]:
        """Make the files of all scenes that can be read; return what ``predict.json`` tells."""
        files = []
        for _, source in self._readable():
            with source.fetched(self._folder) as path:
                place = self._work.scene(source.stem)
                made = scenes.finish_scene(self._model, path, source.file, place, self._options)
                files.append({"file": source.file, "made": made})
        for number in self._work.unreadable_scenes():
            stem = self._sources[number].stem
            scenes.forget_scene(self._work.scene(stem))
            self._work.remove_scene(stem)
        return files

    def _readable(self) -> Iterator[tuple[int, Source]]:
        """Yield all scenes, with their numbers, but for those that cannot be read."""
        of_others = self._work.unreadable_scenes()
        for number, source in enumerate(self._sources):
            if number not in self._unreadable and number not in of_others:
                yield number, source

    @contextmanager
    def _tried(self, number: int) -> Iterator[None]:
        """Note of a scene why it cannot be read."""
        try:
            yield
        except UnreadableScene as error:
            self._unreadable[number] = error.reason
