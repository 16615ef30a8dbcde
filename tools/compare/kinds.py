"""What is compared of the tasks of each kind: all that compare has to know of a kind."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Figures of the tasks of one kind, which stand in the metrics of a completed run.

    A figure is given by the keys that lead to it, with dots between them; larger is better.

    Attributes:
        principal: The figure that stands for a task, 0..1.
        name: What that one is called behind the name of a task.
        figures: All figures with their headings. If there are several, the tasks of this kind get
            a table of their own.
        explanation: What to say below that table.
    """

    principal: str
    name: str
    figures: dict[str, str]
    explanation: str = ""


KINDS = {
    "scene": Kind("accuracy", "accuracy", {"accuracy": "accuracy"}),
    "segmentation": Kind(
        "mean_iou",
        "mIoU",
        {
            "pixel_accuracy": "pixel accuracy",
            "mean_iou": "mIoU",
            "multi_class.mean_iou": "mIoU, several classes",
            "oracle.pixel_accuracy": "oracle: pixel accuracy",
            "oracle.mean_iou": "oracle: mIoU",
            "oracle.multi_class.mean_iou": "oracle: mIoU, several classes",
        },
        '"several classes": on the images that have more than one; "oracle": an image painted with '
        "its true scene class",
    ),
}
