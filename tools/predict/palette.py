"""The colours of a task's classes, from its checkpoint alone."""

from tools.describe.mask_colours import Colour, palette
from tools.describe.mask_colours import colours_of as colours_of_space
from train.inference.blueprint import Blueprint
from train.tasks.base import Task


def colours_of(blueprint: Blueprint, task: Task) -> list[Colour]:
    """Return a colour for every class: those of the user's own masks, if they had any."""
    if task.label_space is None:
        return palette(task.classes)
    of_set = {s.name: s.manifest for s in blueprint.sets}
    dataset = blueprint.config.dataset_of(task.name)
    return colours_of_space(of_set[dataset].masks[task.label_space]).classes
