"""model.json: what a network is and what goes in and out, for programs."""

from collections.abc import Sequence
from typing import Any

from tools.export.subject import Answers, Subject
from train.data.manifest import RecordSet

ABOUT = "model.json"
FORMAT, VERSION = "mtln-export", 1
BANDS = ("red", "green", "blue")


def describe(
    subject: Subject, sets: Sequence[RecordSet], form: str, answers: Answers
) -> dict[str, Any]:
    """Return the description, as plain values.

    Args:
        subject: The network.
        sets: Its data sets.
        form: The format of the export.
        answers: What it answers with.
    """
    model = subject.model
    return {
        "format": FORMAT,
        "version": VERSION,
        "form": form,
        "network": {
            **{key: getattr(model, key) for key in ("trunk", "depth", "width", "norm", "branch")},
            "decoder_channels": model.decoder_channels,
            "max_pool": "symmetric" if subject.symmetric else "same",
        },
        "parameters": subject.parameters,
        "image_size": subject.image_size,
        "bands": list(BANDS),
        "answers": answers,
        "datasets": {
            d.name: {"mean": list(d.mean), "std": list(d.std), **_made_of(s)}
            for d, s in zip(subject.datasets, sets, strict=True)
        },
        "tasks": {
            task.name: {
                "kind": task.kind,
                "dataset": task.dataset,
                "classes": list(task.classes),
            }
            for task in subject.tasks
        },
    }


def _made_of(record_set: RecordSet) -> dict[str, Any]:
    """Return how pictures of more than 8 bits or three bands became RGB, if they were such."""
    options = record_set.manifest.source.get("options", {})
    return {key: value for key, value in options.items() if value is not None}
