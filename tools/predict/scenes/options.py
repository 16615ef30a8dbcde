"""Options of scenes: a stand-in."""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class SceneOptions:
    """What is made of scenes."""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> SceneOptions:
        """Read the command line."""
        return cls()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the part of the command line that is about scenes."""
