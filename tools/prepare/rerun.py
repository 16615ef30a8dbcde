"""What a data set was made with, for its manifest, and whether it is the same now."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tools.catalogue import Catalogue
from tools.duplicates import Prepared
from tools.prepare.mask_files import Space
from tools.prepare.options import DEFAULT_RATIOS, Options
from tools.prepare.scan import Found
from train.data.manifest import FORMAT, MANIFEST, Manifest
from train.errors import UserError


def is_prepared(folder: Path) -> bool:
    """Whether a folder was made by this command, whole or since damaged."""
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and data.get("format") == FORMAT


def describe(
    catalogue: Catalogue,
    options: Options,
    found: Found,
    spaces: dict[str, Space],
    others: dict[int, Prepared],
) -> dict[str, Any]:
    """The manifest's ``source``: what the user gave, and what was left out of it."""
    query = (
        "SELECT key, bytes, mtime, sha256, reason FROM skipped JOIN samples USING (id) ORDER BY id"
    )
    return {
        "path": options.source_name or str(options.src),
        "layout": found.layout,
        "options": arguments(options, spaces, others),
        "skipped": [
            {"key": key, "bytes": size, "mtime_ns": mtime, "sha256": sha256, "reason": reason}
            for key, size, mtime, sha256, reason in (
                (*row[:3], next(iter(json.loads(row[3])), ""), row[4])
                for row in catalogue.rows(query)
            )
        ],
    }


def arguments(
    options: Options, spaces: dict[str, Space], others: dict[int, Prepared]
) -> dict[str, Any]:
    """All that the result depends on besides the pictures, in the form that JSON gives back."""
    meanings = {
        name: {
            "classes": list(space.lookup.classes),
            "values": list(zip(space.lookup.values, space.lookup.positions, strict=True)),
        }
        for name, space in spaces.items()
    }
    against = {
        str(other.folder): hashlib.sha256((other.folder / MANIFEST).read_bytes()).hexdigest()
        for other in others.values()
    }
    values = {
        "name": options.set_name,
        "table": str(options.table) if options.table else None,
        "ratios": options.ratios or DEFAULT_RATIOS,
        "seed": options.seed,
        "size": options.size,
        "format": options.format,
        "quality": options.quality,
        "shards": options.shards,
        "masks": meanings,
        "duplicates": options.duplicates,
        "against": against,
        "skip_unreadable": options.skip_unreadable,
    }
    result: dict[str, Any] = json.loads(json.dumps(values))
    return result


def check_options(out: Path, manifest: Manifest, options: dict[str, Any]) -> None:
    """Raises a UserError that names the options that are not those that ``out`` was made with."""
    made: dict[str, Any] = manifest.source.get("options", {})
    different = [key for key in options if made.get(key) != options[key]]
    if different:
        shown = ", ".join(
            f"--{key.replace('_', '-')} {_text(options[key])} (was {_text(made.get(key))})"
            for key in different
        )
        raise UserError(
            f"{out}: exists already, made with other options: {shown} "
            "(--overwrite makes it anew, or give another --out)"
        )


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
