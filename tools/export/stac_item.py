"""A STAC item with the MLM extension: the model as catalogues of models list it.

Written with stac-model, whose classes check every field.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pystac
from stac_model.base import TaskEnum
from stac_model.input import InputStructure, ModelInput
from stac_model.output import MLMClassification, ModelOutput, ModelResult
from stac_model.schema import MLModelExtension, MLModelProperties

NAME = "stac_item.json"
_KINDS = {
    "scene": TaskEnum.SCENE_CLASSIFICATION,
    "segmentation": TaskEnum.SEMANTIC_SEGMENTATION,
}
_FRAMEWORKS = {
    "onnx": "ONNX",
    "mindir": "MindSpore",
    "safetensors": "MindSpore",
    "torch": "PyTorch",
}
_TYPES = {
    "onnx": "application/octet-stream; framework=onnx",
    "mindir": "application/octet-stream; framework=mindspore",
    "safetensors": "application/octet-stream; application=safetensors",
    "torch": "application/octet-stream; application=safetensors; framework=pytorch",
}


def write(
    folder: Path, about: Mapping[str, Any], file: str, license: str | None, deepness: bool
) -> None:
    """Write the item.

    Args:
        folder: Where it goes.
        about: The content of model.json.
        file: Name of the file that holds the network.
        license: What the user says, if anything.
        deepness: Whether pictures go in as float32 (N, 3, H, W).
    """
    now = datetime.now(timezone.utc)
    # No geometry: where the pictures were taken is not in the records.
    item = pystac.Item("-".join(about["tasks"]), None, None, now, {})
    if license is not None:
        item.properties["license"] = license
    form = about["form"]
    asset = pystac.Asset(
        file,
        title=f"The network as {form}",
        media_type=_TYPES[form],
        roles=["mlm:model"],
        extra_fields={
            "mlm:artifact_type": form,
            "bands": [{"name": band} for band in about["bands"]],
        },
    )
    item.add_asset("model", asset)
    MLModelExtension.ext(item, add_if_missing=True).apply(_properties(about, deepness))
    item.set_self_href(str(folder / NAME))
    item.make_asset_hrefs_relative()
    text = json.dumps(item.to_dict(include_self_link=False), indent=1, ensure_ascii=False)
    (folder / NAME).write_text(text + "\n", encoding="utf-8")


def _properties(about: Mapping[str, Any], deepness: bool) -> MLModelProperties:
    network = about["network"]
    outputs = [_output(name, task, about) for name, task in about["tasks"].items()]
    return MLModelProperties(
        name=" + ".join(about["tasks"]),
        architecture=f"MTLN, {network['trunk']}, {network['branch']} branches",
        tasks={_KINDS[task["kind"]] for task in about["tasks"].values()},
        framework=_FRAMEWORKS[about["form"]],
        total_parameters=about["parameters"],
        pretrained=True,
        input=[_input(about, deepness)],
        output=outputs,
    )


def _input(about: Mapping[str, Any], deepness: bool) -> ModelInput:
    size, bands = about["image_size"], about["bands"]
    shape, order = [-1, size, size, len(bands)], ["batch", "height", "width", "bands"]
    if deepness:
        shape, order = [-1, len(bands), size, size], ["batch", "bands", "height", "width"]
    structure = InputStructure(
        shape=shape, dim_order=order, data_type="float32" if deepness else "uint8"
    )
    # No scaling: normalisation is inside.
    return ModelInput(name="images", bands=bands, input=structure, pre_processing_function=None)


def _output(name: str, task: Mapping[str, Any], about: Mapping[str, Any]) -> ModelOutput:
    labels, pixels = about["answers"] == "labels", task["kind"] == "segmentation"
    size = about["image_size"]
    shape = [-1, *([] if labels else [len(task["classes"])]), *([size, size] if pixels else [])]
    order = ["batch", *([] if labels else ["classes"]), *(["height", "width"] if pixels else [])]
    result = ModelResult(shape=shape, dim_order=order, data_type="int64" if labels else "float32")
    return ModelOutput(
        name=name,
        tasks={_KINDS[task["kind"]]},
        result=result,
        classes=[MLMClassification(value=i, name=c) for i, c in enumerate(task["classes"])],
        post_processing_function=None,
    )
