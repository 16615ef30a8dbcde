"""Predictions in this process, where a network of a run is compiled once for all tests."""

import csv
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.commands import Outcome, Tools
from train.inference.trained_model import TrainedModel
from train.run.checkpoint import Checkpoint

Predict = Callable[..., Outcome]
Models = Callable[..., TrainedModel]
# By data set, the rows of its table, with the path of each picture.
Originals = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="session")
def models() -> Models:
    """Makes the networks of one run, each once."""

    @functools.cache
    def of_step(step: int, options: tuple[tuple[str, Any], ...]) -> TrainedModel:
        return TrainedModel(checkpoints[step], "run", **dict(options))

    checkpoints: dict[int, Checkpoint] = {}

    def make(checkpoint: Checkpoint, where: object, **options: Any) -> TrainedModel:
        checkpoints.setdefault(checkpoint.step, checkpoint)
        return of_step(checkpoint.step, tuple(sorted(options.items())))

    return make


@pytest.fixture
def predict(
    tools: Tools,
    trained_run: Path,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Predict]:
    """Runs the command on the trained run; batches are of 4 pictures."""
    from tools.predict import job

    monkeypatch.setattr(job, "TrainedModel", models)

    def run(*arguments: object) -> Outcome:
        return tools("predict", trained_run, *arguments, "--batch", 4)

    yield run


@pytest.fixture(scope="session")
def originals(small_sets: dict[str, Path]) -> Originals:
    """Of every data set, path, class and split of the pictures that it was prepared of."""
    found = {}
    for name, records in small_sets.items():
        root = records.parents[1]
        with (root / f"{name}.csv").open() as table:
            rows = list(csv.DictReader(table))
        for row in rows:
            row["path"] = str(root / "images" / name / row["file"])
        found[name] = rows
    return found
