"""What a trainer is made of: every setting arrives, also where it is not the default.

It is built here, and not run.
"""

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
import pytest

from tests.aliases import WriteConfig
from tests.train.native_calls import native
from train.config.reader import load_config
from train.data.manifest import open_record_sets
from train.distributed.cluster import Cluster
from train.model.backend import Backend, NativeBackend
from train.model.trunks import ResNet, WideResNet
from train.optim.loss_balance import FAMO, Balance
from train.optim.optimizers import AdamW
from train.tasks.scene import SceneTask
from train.tasks.segmentation import SegmentationTask
from train.trainer import Trainer

Build = Callable[..., Trainer]


@pytest.fixture
def built(joint_tree: dict[str, Any], write_config: WriteConfig, graph_mode: None) -> Build:
    """Builds the trainer of a run on one rank, with these sections in the place of its own."""

    def make(**sections: Any) -> Trainer:
        tree = {**joint_tree, "run_dir": "runs/job", **sections}
        return Trainer(load_config(write_config(tree)), Cluster(0, 1, "CPU"))

    return make


def test_a_run_of_which_nothing_is_the_default(built: Build) -> None:
    trainer = built(
        model={"depth": 16, "width": 3, "norm": "group", "branch": "linear", "decoder_channels": 5},
        optimizer={
            "name": "adamw", "learning_rate": 0.1, "weight_decay": 0.25, "clip_norm": 3.0,
            "betas": [0.8, 0.95], "epsilon": 1e-4,
        },
        loss={
            "label_smoothing": 0.2, "dice": 0.7,
            "balance": {"rule": "famo", "learning_rate": 0.5, "decay": 0.01},
        },
        precision="float16",
        ema=0.97,
        branches="allreduce",
        evaluate={"images": 12, "flips": True},
    )  # fmt: skip
    network, step, trunk = trainer.network, trainer.train_step, trainer.network.shared.trunk
    assert type(network.backend) is Backend and network.backend.norm_kind == "group"
    assert network.backend.half == ms.float16
    assert isinstance(trunk, WideResNet) and trunk.channels[-1] == 64 * 3
    assert not any("attention" in p.name for p in network.get_parameters())
    optimizer = step.update.optimizer
    assert isinstance(optimizer, AdamW)
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.8, 0.95, 1e-4)
    assert set(np.unique(optimizer.decay.asnumpy())) == {0.0, np.float32(0.25)}
    assert (step.clip_norm, step.local_branches, trainer.average.decay) == (3.0, False, 0.97)
    assert trainer.loss_scale is not None and step.loss_scale is trainer.loss_scale
    assert isinstance(trainer.balance, FAMO) and step.balance is trainer.balance
    assert (trainer.balance.rate, trainer.balance.decay) == (0.5, 0.01)
    scene, *_, pixels = trainer.tasks
    assert isinstance(scene, SceneTask) and scene.label_smoothing == 0.2
    assert isinstance(pixels, SegmentationTask)
    assert (pixels.dice_weight, pixels.decoder_channels) == (0.7, 5)
    assert trainer.evaluator.predict.mirrors
    # An image and its mirror images count as four.
    assert sum(trainer.evaluator.loader.slots) == 12 // 4
    assert trainer.consolidator.branches == []


def test_a_run_with_what_else_there_is(built: Build) -> None:
    native()  # built by now
    trainer = built(
        model={"trunk": "resnet18", "norm": "domain"},
        optimizer={"name": "sgd", "learning_rate": 0.1, "momentum": 0.6, "nesterov": False},
        loss={"balance": {"rule": "equal"}},
    )
    network, step = trainer.network, trainer.train_step
    assert type(network.backend) is NativeBackend and network.backend.norm_kind == "domain"
    assert isinstance(network.shared.trunk, ResNet)
    assert any("attention" in p.name for p in network.get_parameters())
    update: Any = step.update
    assert update.momentum is trainer.state.slots["momentum"]
    assert update.mu.asnumpy() == np.float32(0.6)
    assert update.own_options.asnumpy().tolist() == [0]  # no Nesterov
    assert step.local_branches and trainer.loss_scale is None and trainer.average.decay == 0
    assert type(trainer.balance) is Balance and not trainer.evaluator.predict.mirrors
    assert sum(p.size for p in trainer.consolidator.branches) > 0


def test_every_data_set_has_its_own_statistics(built: Build) -> None:
    trainer = built()
    sets = open_record_sets(trainer.config)
    assert len({s.manifest.std for s in sets}) == len({s.manifest.mean for s in sets}) == 3
    for record_set, scales, shifts in zip(
        sets, trainer.network.scales, trainer.network.shifts, strict=True
    ):
        mean, std = np.array(record_set.manifest.mean), np.array(record_set.manifest.std)
        np.testing.assert_allclose(scales, 1 / (255 * std))
        np.testing.assert_allclose(shifts, -mean / std)


def test_other_seeds_draw_other_parameters(built: Build) -> None:
    networks = [built(seed=seed).network for seed in (3, 3, 4)]
    drawn = [network.trainable_params()[0].asnumpy() for network in networks]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
