"""ONNX files: written with what their readers look for in them, and asked through onnxruntime."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tools.export.onnx_graph.network import build_model
from tools.export.subject import Answers, Subject

# Percent of a tile: what is near its edge is judged with less around it.
_OVERLAP = 15


def write(
    subject: Subject, path: Path, answers: Answers, square: int | None, metadata: dict[str, str]
) -> None:
    """Write a file; the options are those of :func:`build_model`, and texts to keep by key."""
    model = build_model(subject, answers, square)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def deepness_keys(subject: Subject, size: int, resolution: float | None) -> dict[str, str]:
    """Return what the QGIS plugin Deepness reads from a model, each value as JSON.

    It divides pixels by 255 and then standardises them: with 0 and 1 nothing happens, as the
    normalisation is inside the model.

    Args:
        subject: A network with one segmentation task.
        size: Height and width of a tile in pixels.
        resolution: Of the pictures that it was trained on, in cm per pixel, if it is known.
    """
    [task] = subject.tasks
    values: dict[str, Any] = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate(task.classes)},
        "tile_size": size,
        "tiles_overlap": _OVERLAP,
        "standardization_mean": [0.0, 0.0, 0.0],
        "standardization_std": [1.0, 1.0, 1.0],
    }
    if resolution is not None:
        values["resolution"] = resolution
    return {key: json.dumps(value) for key, value in values.items()}


def ask(
    path: Path, images: npt.NDArray[np.uint8], batch: int, square: bool
) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Load a file and return its answers, and the logits that it makes them of.

    Args:
        path: The file.
        images: uint8 (n, H, W, 3).
        batch: So many at a time.
        square: Whether it takes float32 (n, 3, H, W) in 0..1 instead.
    """
    model = onnx.load(path)
    made_by = {output: node for node in model.graph.node for output in node.output}
    names = [output.name for output in model.graph.output]
    # Of the last node, whatever it decides.
    logits = [made_by[name].input[0] for name in names]
    types = {value.name: value for value in model.graph.value_info}
    model.graph.output.extend(types[name] for name in logits)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    pixels = (images / np.float32(255)).transpose(0, 3, 1, 2) if square else images
    name = session.get_inputs()[0].name
    parts = [
        session.run(None, {name: np.ascontiguousarray(pixels[first : first + batch])})
        for first in range(0, len(pixels), batch)
    ]
    found = [np.concatenate(of_output) for of_output in zip(*parts, strict=True)]
    return found[: len(names)], found[len(names) :]
