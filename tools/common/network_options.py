"""The options by which commands are told which trained network they are to ask, and how."""

import argparse


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Declare RUN, ``--checkpoint``, ``--tasks`` and ``--as`` (``seen_as``)."""
    add = parser.add_argument
    add("run", metavar="RUN", help="run folder, checkpoint, or address of either")
    text = "newest, best (on val), or the number of a step (default: newest)"
    add("--checkpoint", metavar="WHICH", default="newest", help=text)
    add("--tasks", metavar="A,B", help="names of tasks (default: all)")
    text = (
        "see every picture as one of this data set, for all tasks: the trunk then runs once "
        "(default: every task sees it as one of its own)"
    )
    add("--as", metavar="DATASET", dest="seen_as", help=text)


def add_computing_options(parser: argparse.ArgumentParser) -> None:
    """Declare ``--batch`` and ``--device``.

    With the same ones, commands give the same answers digit for digit: another batch is another
    order of sums.
    """
    add = parser.add_argument
    text = "pictures that are computed together; the last digit depends on it (default: 16)"
    add("--batch", metavar="N", type=int, default=16, help=text)
    devices = ("auto", "Ascend", "GPU", "CPU")
    add("--device", choices=devices, default="auto", help="where to compute (default: auto)")
