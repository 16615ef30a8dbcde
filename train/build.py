"""Build the parts of a run from its configuration."""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import mindspore as ms
import numpy as np

from train import environment
from train.config.marks import NOT_IN_GRAPHS, marked
from train.config.schema import Config
from train.config.sections import JitLevel, Precision
from train.data.damage import DamageWatch
from train.data.loader import EvaluationLoader
from train.data.manifest import RecordSet
from train.distributed import ascend
from train.distributed.cluster import Cluster, device_target
from train.distributed.collectives import Collectives, OneProcess
from train.distributed.mindspore_engine import MindSporeCollectives
from train.distributed.mpi_engine import MPICollectives, PythonAllReduce
from train.errors import UserError
from train.evaluation.evaluator import Evaluator
from train.model.backend import AclnnBackend, Backend, NativeBackend
from train.model.mtln import MTLN, DatasetInfo, is_trunk, split_by_branch
from train.model.trunks import build_trunk
from train.native import library
from train.optim.loss_balance import Balance
from train.optim.loss_scale import LossScale
from train.optim.optimizers import SGD, AdamW, FlatOptimizer, TrunkOptions, decay_of
from train.step import graph_cache
from train.step.graph_cache import GraphCache
from train.step.reduction import Exchange
from train.step.train_step import StepOptions, TrainStep
from train.tasks.base import Task, TaskLosses, wanted_masks


def precision_of(config: Config) -> Precision:
    """Return the type of the network's maps, on the device of this run."""
    if config.precision != "auto":
        return config.precision
    # Where a convolution in float32 is slow, or (on an Ascend 910) impossible.
    return "float16" if device_target(config.device) == "Ascend" else "float32"


def with_precision(config: Config) -> Config:
    """Return a configuration with the type that ``precision: auto`` stands for on this device."""
    return config.model_copy(update={"precision": precision_of(config)})


def jit_level_of(config: Config) -> JitLevel:
    """Return how graphs are compiled for Ascend."""
    return "O2" if config.jit_level == "auto" else config.jit_level


def configure_device(config: Config, cluster: Cluster) -> None:
    """Choose how the device compiles and computes, and refuse what it cannot.

    Raises:
        UserError: Names the key, its value and what is allowed.
    """
    if cluster.device_target == "Ascend":
        ascend.configure(jit_level_of(config), precision_of(config), config.reduction.precision)
    elif cluster.device_target == "CPU":
        _require_cpu_precisions(config, cluster)


def describe_device(config: Config) -> str:
    """Say in one line how an NPU compiles and computes."""
    name, precision = ascend.chip(), precision_of(config)
    note = ""
    if precision == "float32" and ascend.rounds_to_float16():
        note = " (but convolutions and matrix products in float16, with a loss scale)"
    return f"{name}: jit_level {jit_level_of(config)}, precision {precision}{note}"


def _require_cpu_precisions(config: Config, cluster: Cluster) -> None:
    if config.precision == "bfloat16":
        raise UserError(
            "precision: must be float32 or float16 on a CPU, where MindSpore has no convolution "
            "in 'bfloat16' (an Ascend 910B or later has)"
        )
    if config.reduction.precision == "bfloat16" and cluster.engine == "mindspore":
        raise UserError(
            "reduction.precision: must be float32 or float16 on a CPU, where MindSpore has no "
            "reduction in 'bfloat16' (MPI does: launch/run_mpi.sh)"
        )


def build_collectives(cluster: Cluster) -> Collectives:
    """Return the engine that connects the ranks."""
    if cluster.engine == "none":
        return OneProcess()
    if cluster.engine == "mpi":
        return MPICollectives()
    on_cpu = cluster.device_target == "CPU"
    return MindSporeCollectives(cluster.rank, cluster.world_size, on_cpu)


def build_backend(config: Config) -> Backend:
    """Return what the network is made of: on a CPU native operators, if there are any here."""
    if native_problem(config) is None:
        return NativeBackend(config.model.norm)
    environment.cap_instructions()
    by_kernel = device_target(config.device) == "Ascend" and jit_level_of(config) != "O2"
    kind = AclnnBackend if by_kernel else Backend
    return kind(config.model.norm, precision_of(config))


def native_problem(config: Config) -> str | None:
    """Return why native operators are not used; None if they are."""
    target = device_target(config.device)
    if target != "CPU":
        return f"the device is {target}"
    if precision_of(config) != "float32":
        return f"precision is {config.precision}, and the native ones compute in float32"
    try:
        library.load()
    except library.NativeUnavailable as reason:
        return str(reason)
    return None


def build_network(config: Config, sets: Sequence[RecordSet], tasks: Sequence[Task]) -> MTLN:
    """Return the network with freshly drawn parameters, in training mode."""
    ms.set_seed(config.seed)
    datasets = [DatasetInfo(s.name, s.manifest.mean, s.manifest.std) for s in sets]
    backend = build_backend(config)
    trunk = build_trunk(config.model, backend, [s.name for s in sets])
    network = MTLN(trunk, datasets, tasks, backend, config.model.branch)
    network.set_train(True)
    return network


def build_optimizer(config: Config, network: MTLN) -> FlatOptimizer:
    """Return the optimizer over all trainable parameters, the trunk first, then the extractors."""
    shared, branches = split_by_branch(network)
    options = config.optimizer
    decay = decay_of(shared + branches, options.weight_decay)
    size = sum(p.size for p in shared if is_trunk(p.name))
    trunk = TrunkOptions(size, options.trunk_rate, options.freeze_trunk > 0)
    if options.name == "sgd":
        return SGD(decay, options.momentum, options.nesterov, trunk)
    return AdamW(decay, *options.betas, options.epsilon, trunk)


def build_loss_scale(config: Config) -> LossScale | None:
    """Return the loss scale, where a gradient is float16 anywhere on its way to the optimizer."""
    rounds = device_target(config.device) == "Ascend" and ascend.rounds_to_float16()
    if rounds or "float16" in (precision_of(config), config.reduction.precision):
        return LossScale(saturates=rounds)
    return None


def build_step(
    config: Config,
    network: MTLN,
    task_losses: TaskLosses,
    optimizer: FlatOptimizer,
    balance: Balance,
    collectives: Collectives,
    loss_scale: LossScale | None = None,
    frozen_trunk: bool = False,
) -> TrainStep:
    """Return the compiled training step.

    One with a frozen trunk has to be compiled, and so has one without, while the network is told
    which it is: :meth:`train.model.mtln.MTLN.freeze_trunk`.
    """
    wire, in_half = config.reduction, None
    if wire.precision != "float32":
        in_half = collectives.all_reduce_cell(wire.precision)
    exchange = Exchange(
        collectives.world_size,
        collectives.all_reduce_cell(),
        in_half,
        bucket_bytes=round(wire.bucket_mb * 10**6),
    )
    options = StepOptions(
        config.branches == "local", config.optimizer.clip_norm, loss_scale, frozen_trunk
    )
    return TrainStep(network, task_losses, optimizer, balance, exchange, options)


def build_graph_cache(
    config: Config, cluster: Cluster, collectives: Collectives, sets: Sequence[RecordSet]
) -> GraphCache:
    """Return the cache of compiled graphs of runs like this one."""
    problem = native_problem(config)
    # Ranks of one machine reduce otherwise than the same ranks on two, which may share the cache.
    reduction = type(collectives.all_reduce_cell())
    identity = {
        "sources": graph_cache.digest_of_sources(Path(__file__).parent),
        "operators": problem or library.load()._name,
        "versions": [platform.python_version(), ms.__version__, np.__version__],
        "variables": graph_cache.settings_of(os.environ),
        "config": config.model_dump(mode="json", exclude=marked(Config, NOT_IN_GRAPHS)),
        "manifests": [asdict(s.manifest) for s in sets],
        "rank": asdict(cluster),
        "reduction": f"{reduction.__module__}.{reduction.__qualname__}",
    }
    # Of a Python function a graph knows a number only.
    calls_python = reduction is PythonAllReduce
    # It was tried on CPUs only: elsewhere the user has to say where to keep graphs.
    asked_for = os.environ.get(graph_cache.VARIABLE, "0") != "0"
    wanted = cluster.device_target == "CPU" or asked_for
    folder = graph_cache.folder_of(os.environ) if wanted and not calls_python else None
    return GraphCache(folder, identity, cluster.rank if cluster.engine == "mindspore" else 0)


def build_evaluator(
    config: Config,
    network: MTLN,
    sets: Sequence[RecordSet],
    tasks: Sequence[Task],
    watch: DamageWatch,
    collectives: Collectives,
    rank: int,
    alive: Callable[[], None],
    graphs: GraphCache,
) -> Evaluator:
    """Return what evaluates all tasks on a split."""
    copies = 4 if config.evaluate.flips else 1
    loader = EvaluationLoader(
        sets,
        config.image.size,
        config.evaluate.images // copies,
        watch,
        rank,
        collectives.world_size,
        wanted_masks(tasks),
    )
    return Evaluator(network, loader, tasks, collectives, alive, config.evaluate.flips, graphs)
