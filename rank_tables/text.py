"""A rank table as text and as a file."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def version_1_tree(servers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns a version 1.0 table of these servers, whose devices carry their ranks already."""
    return {
        "version": "1.0",
        "server_count": str(len(servers)),
        "server_list": list(servers),
        "status": "completed",
    }


def to_text(tree: dict[str, Any]) -> str:
    """Returns a table as JSON with one device per line, as one would write it by hand."""
    return _lines(tree, "") + "\n"


def _lines(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and any(isinstance(item, list | dict) for item in value.values()):
        items = [f"{json.dumps(k)}: {_lines(item, inner)}" for k, item in value.items()]
        brackets = "{}"
    elif isinstance(value, list) and value:
        items = [_lines(item, inner) for item in value]
        brackets = "[]"
    else:
        return json.dumps(value)
    body = ",\n".join(inner + item for item in items)
    return f"{brackets[0]}\n{body}\n{indent}{brackets[1]}"


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all: a rank may be waiting for it to appear."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
