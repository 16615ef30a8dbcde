"""What a run may go on with: the same settings, whatever keys there were when it was saved."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from train.config.schema import Config
from train.data.manifest import Manifest, RecordSet
from train.errors import UserError
from train.run.identity import require_same_run, run_identity

NOW: dict[str, Any] = {
    "run_dir": "runs/job",
    "datasets": {"ucm": {"records": "data/ucm"}},
    "tasks": {"ucm": {}},
    "schedule": {"steps": 100},
    "precision": "float32",  # what "auto" has become when a run starts
}


def identity(**changed: Any) -> dict[str, Any]:
    return run_identity(Config.model_validate({**NOW, **changed}), [])


def refusal(saved: dict[str, Any], now: dict[str, Any]) -> str:
    with pytest.raises(UserError) as caught:
        require_same_run(saved, now, "runs/job")
    return str(caught.value)


def test_what_the_bits_are_computed_in_must_stay() -> None:
    wire = identity(reduction={"precision": "bfloat16"})
    assert "precision was 'float32' and is now 'float16'" in refusal(
        identity(), identity(precision="float16")
    )
    assert "reduction.precision was 'bfloat16' and is now 'float32'" in refusal(wire, identity())


def test_the_size_of_a_message_may_change() -> None:
    require_same_run(identity(), identity(reduction={"bucket_mb": 4}), "runs/job")


def test_a_checkpoint_older_than_a_key_was_made_with_its_default() -> None:
    old = {k: v for k, v in identity().items() if k not in ("precision", "reduction")}
    require_same_run(old, identity(), "runs/job")
    message = refusal(old, identity(precision="bfloat16", reduction={"precision": "float16"}))
    assert "precision was 'float32' and is now 'bfloat16'" in message
    assert "reduction.precision was 'float32' and is now 'float16'" in message


def test_a_key_without_a_default_must_be_there() -> None:
    old = {k: v for k, v in identity().items() if k != "schedule"}
    assert "schedule.steps was None and is now 100" in refusal(old, identity())
    assert "gone was 1 and is now None" in refusal({**identity(), "gone": 1}, identity())


def test_a_run_may_become_longer_but_nothing_else() -> None:
    longer = identity(schedule={"steps": 150})
    assert require_same_run(identity(), identity(), "runs/job") == {}
    assert require_same_run(identity(), longer, "runs/job") == {"schedule.steps": (100, 150)}
    message = refusal(longer, identity())
    assert "schedule.steps was 150 and is now 100" in message
    assert "longer, not shorter" in message
    other = identity(schedule={"steps": 150}, seed=2)
    assert "seed was 1 and is now 2" in refusal(identity(), other)


def gentler(rate: float, limit: float) -> dict[str, Any]:
    return identity(optimizer={"learning_rate": rate, "clip_norm": limit})


def test_a_run_that_has_diverged_may_go_on_with_smaller_steps() -> None:
    saved = gentler(0.1, 0)
    assert require_same_run(saved, gentler(0.05, 0), "runs/job") == {
        "optimizer.learning_rate": (0.1, 0.05)
    }
    assert require_same_run(saved, gentler(0.05, 5), "runs/job") == {
        "optimizer.learning_rate": (0.1, 0.05),
        "optimizer.clip_norm": (0, 5),
    }
    assert require_same_run(gentler(0.1, 5), gentler(0.1, 2), "runs/job")
    assert "a lower rate, not a higher one" in refusal(saved, gentler(0.2, 0))
    for limit in (0, 6):
        assert "a lower limit, not a higher one or none" in refusal(
            gentler(0.1, 5), gentler(0.1, limit)
        )


def test_of_many_differences_the_five_that_matter_are_told() -> None:
    changed = {
        "branches": "allreduce",
        "loss": {"label_smoothing": 0.2},
        "batch": {"images_per_task": 8},
        "model": {"depth": 22, "width": 4},
        "optimizer": {"learning_rate": 0.1},
        "tasks": {"ucm": {"classes": 21}},
        "seed": 7,
    }
    message = refusal(identity(), identity(**changed))
    told = message.partition("settings: ")[2].partition(" (choose")[0].split("; ")
    assert [part.partition(" was ")[0] for part in told] == [
        *("tasks.ucm.classes", "model.depth", "model.width", "optimizer.learning_rate"),
        *("batch.images_per_task", "and 3 more"),
    ]


def test_what_the_records_are_and_mean_must_stay(small_sets: dict[str, Path]) -> None:
    whole = Manifest.read(small_sets["coast"])

    def of(manifest: Manifest) -> object:
        config = Config.model_validate(
            {**NOW, "datasets": {"c": {"records": "c"}}, "tasks": {"c": {}}}
        )
        return run_identity(config, [RecordSet("c", Path("c"), manifest)])["datasets"]

    (first, *rest), train = whole.splits["train"].shards, whole.splits["train"]
    shards = (replace(first, index_sha256="0"), *rest)
    splits = {**whole.splits, "train": replace(train, shards=shards)}
    masks = {name: replace(s, classes=s.classes[::-1]) for name, s in whole.masks.items()}
    assert masks and of(whole) == of(replace(whole, notes={}))
    for change in ({"classes": whole.classes[::-1]}, {"masks": masks}, {"splits": splits}):
        assert of(replace(whole, **change)) != of(whole)


def test_augmentations_of_one_data_set_must_stay(small_sets: dict[str, Path]) -> None:
    sets = [RecordSet(n, small_sets[n], Manifest.read(small_sets[n])) for n in ("roofs", "coast")]

    def of(**augment: Any) -> dict[str, Any]:
        own = {"records": "c", "augment": augment} if augment else {"records": "c"}
        datasets: dict[str, Any] = {"roofs": {"records": "r"}, "coast": own}
        tree = {"datasets": datasets, "tasks": {name: {} for name in datasets}}
        return run_identity(Config.model_validate({**NOW, **tree}), sets)

    assert not require_same_run(of(), of(), "runs/job")
    message = refusal(of(), of(hue=0.25))
    assert "augment.coast.hue was 0.0 and is now 0.25" in message and "roofs" not in message
