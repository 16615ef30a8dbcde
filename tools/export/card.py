"""The model card: a README.md that says what a network is, how good it is, and where it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import yaml

from tools.common import console
from train.config.schema import Config
from train.data.manifest import RecordSet

_OPEN = "not stated"
# Of marks in the table of figures.
_NOTES = {
    "(1)": """\
Wilson score interval of a ratio of pictures, as if they had been drawn one by one. It does not
cover another place, season or sensor, nor another seed of the training.""",
    "(2)": """\
Pixels of one picture depend on each other, so an interval from their number would be far too
narrow, and sums over all pictures allow no other: what counts is the number of pictures.""",
}
_LIMITS = """\
* It knows the classes above and nothing else: whatever it is shown gets one of them. Probabilities
  are those of the network, which are not calibrated.
* Pictures are RGB, 8 bits a channel, red first. It was trained on pictures of {size} x {size}
  pixels; objects of another size in pixels (another ground resolution) are foreign to it.
* The figures hold for pictures like those that they were measured on. How it does on another
  sensor, season or region is not known.
* The weights follow from the data: what their licences ask for applies to them too."""
_LOADING = {
    "onnx": """\
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession("model.onnx")
pixels = np.asarray(Image.open("picture.png").convert("RGB").resize(({size}, {size})))[None]
answers = session.run(None, {{"{input}": pixels}})  # {outputs}""",
    "deepness": """\
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession("model.onnx")
pixels = np.asarray(Image.open("picture.png").convert("RGB").resize(({size}, {size})), np.float32)
answers = session.run(None, {{"{input}": pixels.transpose(2, 0, 1)[None] / 255}})  # {outputs}""",
    "mindir": """\
import mindspore as ms, numpy as np
from PIL import Image
network = ms.nn.GraphCell(ms.load("model.mindir"))
picture = Image.open("picture.png").convert("RGB").resize(({size}, {size}))
answers = network(ms.Tensor(np.stack([np.asarray(picture)] * {batch})))  # {outputs}""",
    "safetensors": """\
from safetensors.numpy import load_file
parameters = load_file("model.safetensors")  # by the names of train/model""",
    "torch": """\
import numpy as np, torch, mtln_torch
from PIL import Image
network = mtln_torch.load(".")
pixels = np.array(Image.open("picture.png").convert("RGB").resize(({size}, {size})))[None]
answers = network.probabilities(torch.from_numpy(pixels))  # {outputs}""",
}


@dataclass(frozen=True)
class Card:
    """What the card tells.

    Attributes:
        about: The content of model.json.
        config: The configuration of the run.
        sets: The data sets; with their splits where their records are at hand.
        figures: A table from :func:`tools.export.figures.rows`.
        checkpoint: Which checkpoint it is.
        summary: The summary of the run, if it is of this model.
        how: What :data:`_LOADING` has under this key.
        facts: What stands in it: ``size``, ``input``, ``batch``.
        license, citation: What the user says, if anything.
    """

    about: Mapping[str, Any]
    config: Config
    sets: Sequence[RecordSet]
    figures: list[list[str]]
    checkpoint: str
    summary: Mapping[str, Any] | None
    how: str
    facts: Mapping[str, Any]
    license: str | None
    citation: str | None

    def text(self) -> str:
        """Return the card, in Markdown."""
        front = {
            "license": self.license or _OPEN,
            "citation": self.citation or _OPEN,
            "tags": ["remote sensing", "multitask learning", *self._kinds],
        }
        size = self.about["image_size"]
        parts = [
            f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---",
            f"# {' + '.join(self.about['tasks'])}",
            self._what(),
            "## Data\n\n" + console.table(self._data(), markdown=True),
            "## Tasks\n\n" + console.table(self._tasks(), markdown=True),
            "## How good it is\n\n" + self._good(),
            "## How it was trained\n\n" + self._trained(),
            "## Limits\n\n" + _LIMITS.format(size=size),
            "## Loading it\n\n```python\n" + self._loading() + "\n```",
            f"## Licence and citation\n\nLicence: {front['license']}. Cite: {front['citation']}.",
        ]
        return "\n\n".join(parts) + "\n"

    @property
    def _kinds(self) -> list[str]:
        return list(dict.fromkeys(task["kind"] for task in self.about["tasks"].values()))

    def _what(self) -> str:
        network, checked = self.about["network"], self.about["checked"]
        wide = network["trunk"] == "wide_resnet"
        trunk = f"WRN-{network['depth']}-{network['width']}" if wide else network["trunk"]
        return (
            f"A multitask network: {trunk}, {network['norm']} norm, {network['branch']} branches, "
            f"{self.about['parameters']:,} parameters; {self.checkpoint}. Format: "
            f"{self.about['form']}; with the network that was trained {checked}."
        )

    def _data(self) -> list[list[str]]:
        rows = [["data set", "train", "val", "test", "mean (RGB)", "standard deviation"]]
        for s in self.sets:
            known = s.manifest.splits
            counts = [
                f"{known[split].records:,}"
                if split in known
                else ("not known" if not known else "-")
                for split in ("train", "val", "test")
            ]
            numbers = [
                " ".join(f"{value:.4f}" for value in of) for of in (s.manifest.mean, s.manifest.std)
            ]
            rows.append([s.name, *counts, *numbers])
        return rows

    def _tasks(self) -> list[list[str]]:
        rows = [["task", "kind", "sees pictures as those of", "classes"]]
        for name, task in self.about["tasks"].items():
            rows.append([name, task["kind"], task["dataset"], ", ".join(task["classes"])])
        return rows

    def _good(self) -> str:
        if len(self.figures) == 1:
            return "Not known: no evaluation of this model was found beside it."
        table = console.table(self.figures, markdown=True)
        notes = [f"{mark} {note}" for mark, note in _NOTES.items() if mark in table]
        if all(row[1] == "val" for row in self.figures[1:]):
            notes.append("These are of val, which the run may have chosen this model by.")
        if self.config.evaluate.flips:
            notes.append(
                "They are means over a picture and its three mirror images (evaluate.flips), which "
                "this export does not make: alone it does somewhat worse."
            )
        tasks = self.about["tasks"].items()
        if foreign := [t for t, o in tasks if o["dataset"] != self.config.dataset_of(t)]:
            notes.append(
                f"**They do not hold for {', '.join(foreign)}** as exported here: they were "
                "measured on pictures normalised as those of the tasks' own data sets."
            )
        return "\n\n".join([table, *notes])

    def _trained(self) -> str:
        c = self.config
        rows: list[list[object]] = [
            ["setting", "value"],
            ["steps", f"{c.schedule.steps:,}"],
            ["images per data set and step", c.batch.images_per_task],
            ["image size", f"{c.image.size} px"],
            ["optimizer", f"{c.optimizer.name}, learning rate {c.optimizer.learning_rate:g}"],
            ["weight decay", f"{c.optimizer.weight_decay:g}"],
            ["loss balance", c.loss.balance.rule],
            ["moving average of the model", f"{c.ema:g}" if c.ema else "no"],
            ["started from", PurePath(c.init_from).name if c.init_from else "random weights"],
            ["seed", c.seed],
        ]
        if self.summary is not None:
            seen, ranks = self.summary.get("images_seen"), self.summary.get("world_size")
            rows += [["images seen", f"{seen:,}"]] if isinstance(seen, int) else []
            rows += [["processes", ranks]] if isinstance(ranks, int) else []
        return console.table(rows, markdown=True)

    def _loading(self) -> str:
        outputs = f"one of {', '.join(self.about['tasks'])} each"
        return _LOADING[self.how].format(outputs=outputs, **self.facts)
