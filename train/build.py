"""Builds the parts of a run from its configuration."""

from collections.abc import Sequence

import mindspore as ms

from train.cluster import Cluster
from train.collectives import Collectives, MindSporeCollectives, OneProcess
from train.collectives.mpi import MPICollectives
from train.config import Config
from train.data.loader import TrainLoader
from train.data.record_set import RecordSet
from train.data.sampler import split_shares
from train.model.mtln import MTLN, DatasetInfo, TaskInfo
from train.model.wide_resnet import WideResNet
from train.optim import SGD, AdamW, FlatOptimizer, decay_of
from train.step import TrainStep, split_by_branch


def build_collectives(cluster: Cluster) -> Collectives:
    """The engine that connects the ranks."""
    if cluster.engine == "none":
        return OneProcess()
    if cluster.engine == "mpi":
        return MPICollectives()
    return MindSporeCollectives(cluster.world_size)


def build_network(config: Config, sets: Sequence[RecordSet]) -> MTLN:
    """The network with freshly drawn parameters, in training mode."""
    ms.set_seed(config.seed)
    manifests = {s.name: s.manifest for s in sets}
    datasets = [DatasetInfo(name, m.mean, m.std) for name, m in manifests.items()]
    tasks = [
        TaskInfo(task, config.dataset_of(task), len(manifests[config.dataset_of(task)].classes))
        for task in config.tasks
    ]
    trunk = WideResNet(config.model.depth, config.model.width, config.model.norm)
    network = MTLN(trunk, datasets, tasks, config.model.norm)
    network.set_train(True)
    return network


def build_optimizer(config: Config, network: MTLN) -> FlatOptimizer:
    """The optimizer over all trainable parameters, the shared branch first."""
    shared, branches = split_by_branch(network)
    options = config.optimizer
    decay = decay_of(shared + branches, options.weight_decay)
    if options.name == "sgd":
        return SGD(decay, options.momentum, options.nesterov)
    return AdamW(decay, *options.betas, options.epsilon)


def build_step(
    config: Config,
    network: MTLN,
    optimizer: FlatOptimizer,
    collectives: Collectives,
    loader: TrainLoader,
) -> TrainStep:
    """The compiled training step for the batches of a loader."""
    return TrainStep(
        network,
        optimizer,
        collectives.all_reduce_cell(),
        collectives.world_size,
        loader.weights,
        local_branches=config.branches == "local",
        label_smoothing=config.loss.label_smoothing,
        clip_norm=config.optimizer.clip_norm,
        mixed=loader.mixes,
    )


def build_shares(config: Config, sets: Sequence[RecordSet]) -> dict[str, int]:
    """Images of every data set in the mixed batch."""
    records = {s.name: s.num_records("train") for s in sets}
    images = config.batch.images_per_task * len(sets)
    return split_shares(config.batch.shares, records, images)
