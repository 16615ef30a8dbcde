"""What tasks need of their data sets."""

from pathlib import Path
from typing import Any

import pytest

from train.config.schema import Config
from train.data.batch import BatchLayout, TaskInputs
from train.data.manifest import Listing, Manifest, MaskSpace, RecordSet
from train.errors import UserError
from train.tasks.base import Task, resolve_tasks, wanted_masks


def record_set(name: str, classes: tuple[str, ...], *spaces: str) -> RecordSet:
    manifest = Manifest(
        name=name,
        classes=classes,
        image={},
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        splits={},
        listing=Listing(0, ""),
        source={},
        command="",
        masks={space: MaskSpace((f"{space}0", f"{space}1")) for space in spaces},
    )
    return RecordSet(name, Path(f"data/{name}"), manifest)


SETS = [
    record_set("ucm", ("beach", "forest")),
    record_set("gid", ("water", "farm", "town"), "cover"),
    record_set("two", (), "cover", "use"),
]


def resolve(tasks: dict[str, Any], augment: dict[str, Any] | None = None) -> list[Task]:
    """Resolve the tasks, with augmentations of some data sets' own."""
    sets: dict[str, dict[str, Any]] = {s.name: {"records": f"data/{s.name}"} for s in SETS}
    for name, values in (augment or {}).items():
        sets[name]["augment"] = values
    config = Config.model_validate(
        {
            "run_dir": "runs/x",
            "datasets": sets,
            "tasks": {"ucm": {}, "gid": {}, **tasks},
            "schedule": {"steps": 1},
        }
    )
    return resolve_tasks(config, SETS)


def test_tasks_of_both_kinds() -> None:
    tasks = resolve(
        {
            "use": {"dataset": "two", "kind": "segmentation", "masks": "use"},
            "pixels": {"dataset": "gid", "kind": "segmentation", "classes": 2},
            "cover": {"dataset": "two", "kind": "segmentation", "masks": "cover"},
            "again": {"dataset": "two", "kind": "segmentation", "masks": "use"},
        }
    )
    assert [t.kind for t in tasks] == ["scene"] * 2 + ["segmentation"] * 4
    assert tasks[1].classes == ("water", "farm", "town") and tasks[3].classes == (
        "cover0",
        "cover1",
    )
    assert wanted_masks(tasks) == {"two": ("use", "cover"), "gid": ("cover",)}
    # In a batch: three times images and labels, then cover of gid, use and cover of two.
    layout = BatchLayout([s.name for s in SETS], wanted_masks(tasks))
    found = [layout.inputs(task.dataset, task.label_space) for task in tasks]
    assert [inputs.masks for inputs in found] == [None, None, 7, 6, 8, 7]
    assert [inputs.scenes for inputs in found] == [(3,), (4,), (5,), (4,), (5,), (5,)]
    mixed = BatchLayout([s.name for s in SETS], wanted_masks(tasks), mixed=True)
    assert mixed.inputs("gid") == TaskInputs((4, 7, 10))
    assert mixed.inputs("gid", "cover") == TaskInputs((4, 7, 10), 12)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"dataset": "two"}, "tasks.t: data/two has masks only, no scene classes"),
        ({"dataset": "ucm", "kind": "segmentation"}, "needs masks, but data/ucm has none"),
        (
            {"dataset": "two", "kind": "segmentation"},
            "tasks.t.masks: missing: data/two has several kinds (cover, use)",
        ),
        (
            {"dataset": "two", "kind": "segmentation", "masks": "roofs"},
            "tasks.t.masks: data/two has no masks 'roofs' (but: cover, use)",
        ),
        (
            {"dataset": "gid", "kind": "segmentation", "classes": 3},
            "tasks.t.classes: 3 classes are expected, but data/gid has 2",
        ),
    ],
)
def test_what_does_not_fit(task: dict[str, Any], message: str) -> None:
    needs_two = (
        {}
        if task["dataset"] == "two"
        else {"cover": {"dataset": "two", "kind": "segmentation", "masks": "cover"}}
    )
    with pytest.raises(UserError) as caught:
        resolve({**needs_two, "t": task})
    assert message in str(caught.value)


def test_masks_cannot_be_blended() -> None:
    """What counts is the data set that they are of, not the run, and not another one."""
    pixels = {"t": {"dataset": "gid", "kind": "segmentation"}}
    two = {"cover": {"dataset": "two", "kind": "segmentation", "masks": "cover"}}
    mixup = {"mixup": 0.2}
    with pytest.raises(UserError) as caught:
        resolve({**two, **pixels}, {"gid": mixup})
    assert str(caught.value) == "datasets.gid.augment.mixup: masks cannot be blended"
    assert resolve({**two, **pixels}, {"ucm": mixup})
