"""The paper sizes of plan-scale against the networks that training builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.plan_scale.network import DEFAULT_CLASSES, network_of
from tools.plan_scale.options import with_tasks
from train.build import build_network
from train.config.schema import Config
from train.data.manifest import Listing, Manifest, MaskSpace, RecordSet, Shard, Split
from train.errors import UserError
from train.model.mtln import split_by_branch
from train.tasks.base import resolve_tasks

HALF = (0.5, 0.5, 0.5)


def record_set(name: str, classes: int, masks: int = 0) -> RecordSet:
    shard = Shard("train.mindrecord", 1, 1, "", 1, "")
    manifest = Manifest(
        name=name,
        classes=tuple(f"class{i}" for i in range(classes)),
        image={"format": "jpeg"},
        mean=HALF,
        std=HALF,
        splits={"train": Split(1, (1,) * classes, (shard,))},
        listing=Listing(0, ""),
        source={},
        command="",
        masks={"cover": MaskSpace(tuple(map(str, range(masks))))} if masks else {},
    )
    return RecordSet(name, Path(), manifest)


def config_of(model: dict[str, Any], tasks: dict[str, Any]) -> Config:
    return Config.model_validate(
        {
            "run_dir": "runs/plan",
            "datasets": {"one": {"records": "one"}, "two": {"records": "two"}},
            "tasks": tasks,
            "schedule": {"steps": 10},
            "image": {"size": 20},
            "model": {"depth": 10, "width": 1, **model},
        }
    )


SCENES: dict[str, Any] = {"one": {"classes": 5}, "two": {"classes": 3}}
WITH_MASKS = {**SCENES, "pixels": {"dataset": "two", "kind": "segmentation", "classes": 4}}


@pytest.mark.parametrize(
    ("model", "tasks"),
    [
        ({"depth": 16, "width": 2}, SCENES),
        ({"norm": "group", "decoder_channels": 24}, WITH_MASKS),
        ({"norm": "domain"}, WITH_MASKS),
        ({"branch": "linear"}, WITH_MASKS),
    ],
)
def test_counts_are_those_of_the_network(model: dict[str, Any], tasks: dict[str, Any]) -> None:
    config = config_of(model, tasks)
    sets = [record_set("one", 5), record_set("two", 3, masks=4)]
    network = build_network(config, sets, resolve_tasks(config, sets))
    shared, branches = split_by_branch(network)
    means = [p for p in network.get_parameters() if p.name.endswith(".moving_mean")]
    found = network_of(config)
    assert found.shared == sum(p.size for p in shared)
    assert found.branches == sum(p.size for p in branches)
    assert found.statistics == sum(p.size for p in means)


def test_multiplications_of_a_small_network() -> None:
    """WRN-10-1 at 8 px (maps of 8, 4, 2 and 1 px), layer by layer by hand; one task."""
    tree = config_of({}, {"one": {"classes": 5}, "two": {"classes": 3}})
    config = tree.model_copy(update={"image": tree.image.model_copy(update={"size": 8})})
    trunk = 64 * 3 * 16 * 9
    trunk += 64 * 16 * 16 * 9 + 16 * 16 * 16 * 9 + 16 * 16 * 16
    trunk += 16 * 16 * 32 * 9 + 4 * 32 * 32 * 9 + 4 * 16 * 32
    trunk += 4 * 32 * 64 * 9 + 1 * 64 * 64 * 9 + 1 * 32 * 64
    attention = 64 * (16 * 16 + 16 * 16) + 16 * (32 * 16 + 16 * 16)
    attention += 4 * (64 * 32 + 32 * 32) + 1 * (128 * 64 + 64 * 64)
    extractors = 9 * (64 * 16 * 16 + 16 * 16 * 32 + 4 * 32 * 64 + 1 * 64 * 64)
    heads = 64 * (5 + 3) / 2
    assert network_of(config).multiplications == trunk + attention + extractors + heads


def test_only_the_branches_grow_with_the_tasks() -> None:
    config = config_of({}, SCENES)
    few, many = (network_of(with_tasks(config, number)) for number in (3, 30))
    assert few.shared == many.shared
    assert 10 * few.branches == many.branches
    assert few.multiplications == many.multiplications


def test_classes_of_data_that_are_not_there() -> None:
    unknown = config_of({}, {"one": {}, "two": {}})
    known = config_of({}, {name: {"classes": DEFAULT_CLASSES} for name in SCENES})
    assert network_of(unknown) == network_of(known)


def test_other_trunks_are_refused() -> None:
    config = config_of({}, SCENES)
    model = config.model.model_copy(update={"trunk": "resnet50"})
    with pytest.raises(UserError, match=r"model\.trunk: resnet50"):
        network_of(config.model_copy(update={"model": model}))
