"""What a folder of predictions holds."""

import json
from pathlib import Path
from typing import Any


def read_lines(out: Path) -> list[dict[str, Any]]:
    """What a folder of predictions tells of the pictures, in order."""
    text = (out / "predictions.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def content(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
