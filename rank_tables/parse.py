"""Finds the file of a rank table and reads its JSON."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rank_tables.model import RankTableError
from rank_tables.report import Violation

# Under this name ModelArts lays the table of a job into a folder.
MODELARTS_NAME = "jobstart_hccl.json"

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes:
        path: the file.
        text: what is in it.
        tree: the same as JSON; None if it is none.
        mistakes: what is wrong with it as JSON.
    """

    path: Path
    text: str
    tree: Any
    mistakes: tuple[Violation, ...]


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood in it more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.repeated = [key for key in self if keys.count(key) > 1]


def read(path: Path, wait_seconds: float = 0) -> Document:
    """Reads the rank table at a path, a file or a folder that holds one.

    Args:
        path: a file, or a folder with jobstart_hccl.json or exactly one .json file in it.
        wait_seconds: how long to wait for the file to appear and to be complete. Job managers
            start the containers first and fill the table in afterwards.

    Raises:
        RankTableError: there is no such file, or it cannot be read.
    """
    end = time.monotonic() + wait_seconds
    while True:
        left = end - time.monotonic()
        try:
            document = _read_file(path)
        except RankTableError:
            if left <= 0:
                raise
        else:
            if left <= 0 or not _unfinished(document):
                return document
        time.sleep(min(_POLL_SECONDS, max(left, 0)))


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / MODELARTS_NAME).exists():
        return path / MODELARTS_NAME
    files = sorted(path.glob("*.json"))
    if len(files) == 1:
        return files[0]
    if not files:
        raise RankTableError(f"{path}: this folder holds no rank table (no file ends in .json)")
    names = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
    raise RankTableError(
        f"{path}: this folder holds {len(files)} .json files ({names}): name the one to use"
    )


def _read_file(path: Path) -> Document:
    try:
        path = _find_file(path)
        content = path.read_bytes()
    except FileNotFoundError:
        raise RankTableError(f"{path}: no such file") from None
    except OSError as error:
        raise RankTableError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        # A byte order mark at the beginning does no harm: HCCL's JSON reader skips it as well.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mistake = Violation(f"byte {error.start}", "not UTF-8 text", "save the file as UTF-8")
        return Document(path, "", None, (mistake,))
    return parse(path, text)


def parse(path: Path, text: str) -> Document:
    """Reads JSON and finds what is wrong with it as such."""
    try:
        tree = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():  # Python takes half a character for a whole one, HCCL does not
            json.dumps(tree, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return Document(path, text, None, (_syntax_mistake(error),))
    except UnicodeEncodeError:
        mistake = Violation("(top level)", "not JSON: half a surrogate pair", "correct it")
        return Document(path, text, None, (mistake,))
    except (ValueError, RecursionError) as error:  # NaN, endless digits, endless nesting
        mistake = Violation("(top level)", f"not JSON: {error}", "write plain JSON")
        return Document(path, text, None, (mistake,))
    return Document(path, text, tree, tuple(_repeated_keys(tree, "")))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _syntax_mistake(error: json.JSONDecodeError) -> Violation:
    where = f"line {error.lineno}, column {error.colno}"
    rest = error.doc[error.pos :].lstrip()
    before = error.doc[: error.pos].rstrip()
    if not error.doc.strip():
        return Violation(where, "the file is empty", "generate the table again")
    if not rest:
        return Violation(where, "the JSON ends too early", "copy or generate the whole file again")
    if rest.startswith(("//", "/*", "#")):
        return Violation(where, "a comment: JSON has none, and HCCL reads none", "take it out")
    if rest[0] in "}]" and before.endswith(","):
        return Violation(where, f"a comma before the closing {rest[0]}", "take the comma out")
    return Violation(where, f"not JSON: {error.msg}", "correct it")


def _repeated_keys(value: Any, path: str) -> list[Violation]:
    found = []
    if isinstance(value, _Object):
        prefix = f"{path}." if path else ""
        for key in value.repeated:
            problem = "stands there more than once, and only the last one counts"
            found.append(Violation(prefix + key, problem, "keep one"))
        for key, item in value.items():
            found += _repeated_keys(item, prefix + key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += _repeated_keys(item, f"{path}[{index}]")
    return found


def _unfinished(document: Document) -> bool:
    """Tells whether the file is still being filled in; half-written text is no JSON yet."""
    if not isinstance(document.tree, dict):
        return True
    return document.tree.get("status") == "initializing"
