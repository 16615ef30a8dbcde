"""The file of a rank table: where it is, and what is wrong with it as JSON."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rank_tables.fields import Violation
from rank_tables.model import RankTableError

# Under this name ModelArts lays the table of a job into a folder.
_MODELARTS_NAME = "jobstart_hccl.json"

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Document:
    """A file that was read: text, the same as JSON (None if it is none), and mistakes in that."""

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
    """Read the rank table at a path, as :func:`rank_tables.load` does; its content may be wrong.

    Job managers start the containers first and fill the table in afterwards, hence the wait.

    Raises:
        RankTableError: there is no such file, or it cannot be read.
    """
    end = time.monotonic() + wait_seconds
    while True:
        left = end - time.monotonic()
        try:
            document = _read_file(path)
            # Half-written text is no JSON yet.
            started = isinstance(document.tree, dict)
            if left <= 0 or (started and document.tree.get("status") != "initializing"):
                return document
        except RankTableError:
            if left <= 0:
                raise
        time.sleep(min(_POLL_SECONDS, left))


def _find_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    if (path / _MODELARTS_NAME).exists():
        return path / _MODELARTS_NAME
    files = sorted(path.glob("*.json"))
    if len(files) == 1:
        return files[0]
    problem = "no rank table (no file ends in .json)"
    if files:
        names = ", ".join([file.name for file in files[:4]] + ["..."] * (len(files) > 4))
        problem = f"{len(files)} .json files ({names}): name the one to use"
    raise RankTableError(f"{path}: this folder holds {problem}")


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
        return parse(path, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        mistake = Violation(f"byte {error.start}", "not UTF-8 text", "save the file as UTF-8")
        return Document(path, "", None, (mistake,))


def parse(path: Path, text: str) -> Document:
    """Read JSON and find what is wrong with it as such."""
    try:
        tree = json.loads(text, object_pairs_hook=_Object, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():  # Python takes half a character for a whole one, HCCL does not
            json.dumps(tree, ensure_ascii=False).encode()
        return Document(path, text, tree, tuple(_repeated_keys(tree, "")))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        mistake = Violation(where, *_syntax_mistake(error))
    except UnicodeEncodeError:
        mistake = Violation("(top level)", "not JSON: half a surrogate pair", "correct it")
    except (ValueError, RecursionError) as error:  # NaN, endless digits, endless nesting
        mistake = Violation("(top level)", f"not JSON: {error}", "write plain JSON")
    return Document(path, text, None, (mistake,))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _syntax_mistake(error: json.JSONDecodeError) -> tuple[str, str]:
    rest = error.doc[error.pos :].lstrip()
    if not error.doc.strip():
        return "the file is empty", "generate the table again"
    if not rest:
        return "the JSON ends too early", "copy or generate the whole file again"
    if rest.startswith(("//", "/*", "#")):
        return "a comment: JSON has none, and HCCL reads none", "take it out"
    if rest[0] in "}]" and error.doc[: error.pos].rstrip().endswith(","):
        return f"a comma before the closing {rest[0]}", "take the comma out"
    return f"not JSON: {error.msg}", "correct it"


def _repeated_keys(value: Any, path: str) -> Iterator[Violation]:
    if isinstance(value, _Object):
        prefix = f"{path}." if path else ""
        for key in value.repeated:
            problem = "stands there more than once, and only the last one counts"
            yield Violation(prefix + key, problem, "keep one")
        for key, item in value.items():
            yield from _repeated_keys(item, prefix + key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated_keys(item, f"{path}[{index}]")
