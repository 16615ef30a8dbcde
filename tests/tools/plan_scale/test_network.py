"""What plan-scale counts in the network and the step that training builds, against other counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.paths import ROOT
from tools.plan_scale.network import (
    DEFAULT_CLASSES,
    build,
    kernels,
    messages,
    multiplications,
    plans_of,
)
from train.config.reader import load_config
from train.config.schema import Config

SCENES: dict[str, Any] = {"one": {"classes": 5}, "two": {"classes": 3}}
WITH_MASKS = {**SCENES, "pixels": {"dataset": "two", "kind": "segmentation", "classes": 4}}


def config_of(tasks: dict[str, Any], size: int = 8, **sections: Any) -> Config:
    return Config.model_validate(
        {
            "run_dir": "runs/plan",
            "datasets": {"one": {"records": "one"}, "two": {"records": "two"}},
            "tasks": tasks,
            "schedule": {"steps": 10},
            "image": {"size": size},
            "model": {"depth": 10, "width": 1},
            **sections,
        }
    )


def values(config: Config, part: str) -> int:
    """Of all parameters whose name begins and ends so ("shared.*", "*.moving_mean")."""
    begin, end = part.split("*")
    parameters = build(config).network.get_parameters()
    return sum(p.size for p in parameters if p.name.startswith(begin) and p.name.endswith(end))


def test_multiplications_of_a_small_network() -> None:
    """WRN-10-1 at 8 px (maps of 8, 4, 2 and 1 px), layer by layer by hand."""
    trunk = 64 * 3 * 16 * 9
    trunk += 64 * 16 * 16 * 9 + 16 * 16 * 16 * 9 + 16 * 16 * 16
    trunk += 16 * 16 * 32 * 9 + 4 * 32 * 32 * 9 + 4 * 16 * 32
    trunk += 4 * 32 * 64 * 9 + 1 * 64 * 64 * 9 + 1 * 32 * 64
    attention = 64 * (16 * 16 + 16 * 16) + 16 * (32 * 16 + 16 * 16)
    attention += 4 * (64 * 32 + 32 * 32) + 1 * (128 * 64 + 64 * 64)
    extractors = 9 * (64 * 16 * 16 + 16 * 16 * 32 + 4 * 32 * 64 + 1 * 64 * 64)
    heads = 64 * (5 + 3) / 2
    scenes = trunk + attention + extractors + heads
    assert multiplications(build(config_of(SCENES))) == scenes
    # A decoder of 24 channels on the maps of 16, 16, 32 and 64: it sees half of the images.
    decoder = 24 * (64 * 16 + 16 * 16 + 4 * 32 + 1 * 64) + 64 * 24 * (24 * 9 + 4)
    model = {"depth": 10, "width": 1, "decoder_channels": 24}
    found = multiplications(build(config_of(WITH_MASKS, model=model)))
    assert found == scenes + (attention + extractors + decoder) / 2


# Of torchvision's models with 1,000 classes: values, and 10^9 multiplications at 224 px.
@pytest.mark.parametrize(
    ("trunk", "parameters", "products"),
    [
        ("resnet18", 11_689_512, 1.814),
        ("resnet34", 21_797_672, 3.664),
        ("resnet50", 25_557_032, 4.089),
    ],
)
def test_resnets_are_the_published_ones(trunk: str, parameters: int, products: float) -> None:
    model = {"trunk": trunk, "branch": "linear"}
    one = {"one": {"records": "one"}}
    config = config_of({"one": {"classes": 1000}}, 224, datasets=one, model=model)
    parts = build(config)
    assert multiplications(parts) == pytest.approx(products * 1e9, rel=5e-4)
    # With the loss.
    assert messages(parts, "allreduce")[0] == [4 * (parameters + 1)]


@pytest.mark.slow
def test_kernels_are_as_many_per_layer_as_were_counted() -> None:
    """The network where they were counted has exactly those; with more tasks there are more."""
    config = load_config(ROOT / "configs" / "mtln_wrn28_4.yaml")
    parts = build(config)
    assert kernels(parts, "O0") == (693, 693, 1)
    assert kernels(parts, "O2") == (1688, 1, 18)
    # Trunk 28, extractors 4, and for each task two at each of 4 levels, and a head.
    assert kernels(build(config, 10), "O0")[0] == round(693 * (32 + 10 * 9) / 59)


def test_messages_of_a_step() -> None:
    config = config_of(SCENES)
    shared, branches = values(config, "shared.*"), values(config, "tasks.*")
    statistics = values(config, "*.moving_mean")
    shared -= 2 * values(config, "shared.*.moving_mean")
    branches -= 2 * values(config, "tasks.*.moving_mean")
    local, together = plans_of(config)
    # The gradient, the losses of both tasks and, where branches are local, their norm.
    assert (local.branches, together.branches) == ("local", "allreduce")
    assert local.messages == [4 * (shared + 2 + 1)]
    assert together.messages == [4 * (shared + branches + 2)]
    # Means and variances; the branches with their momentum.
    assert local.consolidation == [4 * statistics, 4 * statistics, 4 * 2 * branches]
    assert together.consolidation == [4 * statistics, 4 * statistics]
    assert (local.datasets, local.consolidate_every) == (2, 50)


def test_messages_are_those_of_the_configuration() -> None:
    plain = build(config_of(SCENES))
    [whole], points = messages(plain, "local")
    half = messages(build(config_of(SCENES, reduction={"precision": "bfloat16"})), "local")[0]
    # 16 bits of the gradient, then losses and norm as they are.
    assert half == [(whole - 4 * 3) // 2, 4 * 3]
    cut = messages(build(config_of(SCENES, reduction={"bucket_mb": 0.1})), "local")[0]
    assert len(cut) > 3 and sum(cut) == whole
    # One convolution of 64 to 64 channels is larger than a bucket.
    assert max(cut) == 4 * (64 * 64 * 9)
    # Pixels with a class, and twice the losses, of three tasks each.
    famo = {"balance": {"rule": "famo"}}
    assert messages(build(config_of(WITH_MASKS, loss=famo)), "local")[0][1:] == [12, 12, 12]
    adamw = messages(build(config_of(SCENES, optimizer={"name": "adamw"})), "local")[1]
    assert adamw == [*points[:2], points[2] // 2 * 3]
    group = {"depth": 10, "width": 1, "norm": "group"}
    assert messages(build(config_of(SCENES, model=group)), "local")[1] == points[2:]
    assert messages(build(config_of(SCENES, model=group)), "allreduce")[1] == []


@pytest.mark.slow
def test_only_the_branches_grow_with_the_tasks() -> None:
    config = config_of(SCENES, loss={"balance": {"rule": "fixed", "weights": {"one": 1, "two": 2}}})
    few, many = (plans_of(config, number) for number in (2, 20))
    assert [plan.datasets for plan in (*few, *many)] == [2, 2, 20, 20]
    assert few[0].multiplications == many[0].multiplications
    assert many[0].messages[0] - few[0].messages[0] == 4 * 18
    assert 10 * few[0].consolidation[-1] == many[0].consolidation[-1]
    # All 20 are like the first one, which has 5 classes.
    five = plans_of(config_of({**SCENES, "two": {"classes": 5}}))
    assert five == plans_of(config, 2)


@pytest.mark.slow
def test_classes_are_those_of_the_data_if_they_are_there(small_sets: dict[str, Path]) -> None:
    open_ = {"one": {}, "two": {}, "pixels": {"dataset": "two", "kind": "segmentation"}}
    known = {name: {**options, "classes": DEFAULT_CLASSES} for name, options in open_.items()}
    assert plans_of(config_of(open_)) == plans_of(config_of(known))
    # Of two classes, and three of pixels.
    there = {"one": {"records": "one"}, "two": {"records": str(small_sets["coast"])}}
    known = {
        "one": known["one"],
        "two": {"classes": 2},
        "pixels": {**open_["pixels"], "classes": 3},
    }
    assert plans_of(config_of(open_, datasets=there)) == plans_of(config_of(known))
