"""The same exported network, asked by this project, by PyTorch and by onnxruntime.

A step is a batch of pictures: raw pixels in, the probabilities of all tasks out, as numpy arrays.
"""

import importlib.util
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.bench.peers import Peer


def _pictures(spec: dict[str, Any]) -> npt.NDArray[np.uint8]:
    shape = (spec["images"], spec["size"], spec["size"], 3)
    return np.random.default_rng(spec["size"]).integers(0, 256, shape, np.uint8)


class Predictor(Peer):
    """Base of them.

    Attributes:
        pictures: What all of them are asked about, uint8 (n, H, W, 3).
    """

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        self.pictures = _pictures(spec)

    def ask(self) -> list[npt.NDArray[np.float32]]:
        """Return the probabilities of every task, (n, K)."""
        raise NotImplementedError

    def ready(self, **versions: str) -> None:
        """Tell that it is warm, and what it answers, by which the answers are compared."""
        answers = self.ask()
        sums = [float((answer * np.arange(answer.shape[1])).sum()) for answer in answers]
        self.info = {"versions": versions, "answers": sums}

    def run(self, steps: int) -> None:
        """Ask ``steps`` times."""
        for _ in range(steps):
            self.ask()


class Ours(Predictor):
    """This project, as ``tools predict`` asks it."""

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        import mindspore

        from train.inference.checkpoint_source import choose_checkpoint
        from train.inference.trained_model import TrainedModel
        from train.process.collector import objects_kept

        run = Path(spec["run"])
        checkpoint = choose_checkpoint(run, "newest", str(run))
        options = {"seen_as": spec["seen_as"], "batch": spec["images"], "device": "CPU"}
        self.model = TrainedModel.read(checkpoint, **options)
        self.kept = ExitStack()
        self.kept.enter_context(objects_kept())  # as the command does
        self.ready(mindspore=mindspore.__version__)

    def ask(self) -> list[npt.NDArray[np.float32]]:
        """See the base class."""
        return self.model.probabilities(self.pictures)


class Onnx(Predictor):
    """onnxruntime with the exported file."""

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        self.session = onnxruntime.InferenceSession(
            f"{spec['onnx']}/model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.tasks = [output.name for output in self.session.get_outputs()]
        self.ready(onnxruntime=onnxruntime.__version__)

    def ask(self) -> list[npt.NDArray[np.float32]]:
        """See the base class."""
        answers: list[npt.NDArray[np.float32]] = self.session.run(
            self.tasks, {"images": self.pictures}
        )
        return answers


class Torch(Predictor):
    """PyTorch with the exported module, its tensors with channels last."""

    def __init__(self, spec: dict[str, Any], rank: int) -> None:
        super().__init__(spec, rank)
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        folder = Path(spec["torch"])
        found = importlib.util.spec_from_file_location("mtln_torch", folder / "mtln_torch.py")
        assert found is not None and found.loader is not None
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        network = module.load(folder).to(memory_format=torch.channels_last)
        self.network = torch.compile(network) if spec["compiled"] else network
        self.torch = torch
        self.ready(torch=torch.__version__)

    def ask(self) -> list[npt.NDArray[np.float32]]:
        """See the base class."""
        with self.torch.inference_mode():
            logits = self.network(self.torch.from_numpy(self.pictures))
            return [values.softmax(1).numpy() for values in logits.values()]
