"""A rank of a normal job that also writes down what it holds around the consolidation points.

Every rank draws its first parameters from another seed, so that equal ones cannot be luck.

    python tests/train/probe.py CONFIG [key.sub=value ...]
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import save_file

from train import build
from train.config.reader import load_config
from train.config.schema import Config
from train.distributed import cluster
from train.trainer import Trainer


def main() -> None:
    config = load_config(Path(sys.argv[1]), sys.argv[2:])
    place = cluster.identify(os.environ, config.device)
    cluster.start(place)
    real_build = build.build_network

    def build_with_own_seed(config: Config, *others: Any) -> object:
        own = config.model_copy(update={"seed": config.seed + place.rank})
        return real_build(own, *others)

    build.build_network = build_with_own_seed  # type: ignore[assignment]
    trainer = Trainer(config, place)
    folder = config.run_folder / "replicas"
    folder.mkdir(parents=True, exist_ok=True)
    points = iter(range(10**6))

    def write(name: str) -> None:
        trainer.state.read()
        model, optimizer = trainer.state.to_arrays()
        save_file({**model, **optimizer}, folder / f"{name}_rank{place.rank}.safetensors")

    def around(function: Callable[..., None], name: Callable[[], str]) -> Callable[..., None]:
        def wrapped(*arguments: object) -> None:
            label = name()
            write(f"before_{label}")
            function(*arguments)
            write(f"after_{label}")

        return wrapped

    trainer._consolidate = around(  # type: ignore[method-assign]
        trainer._consolidate, lambda: f"point{next(points)}"
    )
    state = trainer.state
    state.broadcast = around(state.broadcast, lambda: "broadcast")  # type: ignore[method-assign]
    trainer.run()
    cluster.close(place)


if __name__ == "__main__":
    main()
