"""Copies of the project in which other programs stand in the place of ours."""

import shutil
from pathlib import Path

from tests.paths import ROOT

# A valid configuration, with records that nobody looks at before a rank does.
ON_PAPER = "datasets: {a: {records: 's3://bucket/a'}}\nschedule: {steps: 1}\n"
# Nothing is built in a copy.
VARIABLES = {"MTLN_NATIVE": "0"}


def copy_checkout(root: Path, configs: dict[str, str], **programs: str) -> Path:
    """The launcher and what it needs, in a folder of its own; the folder.

    Args:
        root: The folder, which is made.
        configs: Files of ``configs/`` by name.
        programs: What ``python -m`` runs, by the name of the package.
    """
    ignore = shutil.ignore_patterns("__pycache__", "built")
    for package in ("launch", "rank_tables", "train"):
        shutil.copytree(ROOT / package, root / package, ignore=ignore)
    (root / "requirements.txt").write_text("")
    (root / "configs").mkdir()
    for name, text in configs.items():
        (root / "configs" / name).write_text(text)
    for package, program in programs.items():
        (root / package).mkdir(exist_ok=True)
        (root / package / "__main__.py").write_text(program)
    return root
