"""Settings on the command line, ``key.sub=value``, and what else people write for them."""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from train.config import keys
from train.config.nearest import is_close, nearest_word
from train.config.yaml_text import read_value
from train.errors import UserError
from train.storage.secrets import shown

Tree = dict[str, Any]

_OPEN, _CLOSE = "[{", "]}"


def apply_overrides(tree: Tree, words: Sequence[str]) -> list[tuple[str, ...]]:
    """Put settings into a configuration; return their keys.

    Args:
        tree: The configuration, which is changed.
        words: ``key.sub=value`` each; the value is YAML, of a key that takes a path or a name the
            text as it is.

    Raises:
        UserError: A word is no setting; the line says how it would be one.
    """
    for number, word in enumerate(words):
        _require_setting(words, number, word)
    _require_no_split_braces(words)
    return [_apply(tree, word) for word in words]


def _apply(tree: Tree, word: str) -> tuple[str, ...]:
    key, _, text = word.partition("=")
    parts = tuple(key.split("."))
    told = shown(word)
    for i, part in enumerate(parts[:-1]):
        inner = tree.get(part)
        if inner is None:
            inner = tree[part] = {}
        elif i == 1 and parts[0] == "datasets" and isinstance(inner, str):
            inner = tree[part] = {"records": inner}
        if not isinstance(inner, dict):
            raise UserError(f"command line: {told!r}: {'.'.join(parts[: i + 1])} holds no keys")
        tree = inner
    tree[parts[-1]] = _value(parts, text, told)
    return parts


def _value(parts: tuple[str, ...], text: str, told: str) -> Any:
    # 2024-01-01, 007 and "no" are good names of folders.
    if text and keys.is_text(parts) and not re.match(r"[\s'\"&*!|>%@`#]|null\Z|~\Z", text):
        return text
    source = f"command line: {told!r}"
    try:
        return read_value(text, source)
    except UserError:
        if told != f"{'.'.join(parts)}={text}":  # the message may repeat a secret
            raise UserError(f"{source}: the value is not valid YAML") from None
        raise


def _require_setting(words: Sequence[str], number: int, word: str) -> None:
    """Refuse what is no ``key=value``, with the setting that was probably meant."""
    key, equals, value = word.partition("=")
    if equals and (opened := _opened(value)):
        _explain_split(words, number, opened)
    if equals and all(key.split(".")) and not key.startswith("-") and not re.search(r"\s", key):
        if value or number + 1 == len(words) or "=" in words[number + 1]:
            return
        meant = f"{word}{words[number + 1]}"
        raise UserError(f"command line: write {meant} without blanks")
    if word.endswith((".yaml", ".yml")) and not equals:
        raise UserError(
            f"command line: {word}: a configuration file must come first, before all options and "
            "settings"
        )
    setting = meant_setting(words, number)
    hint = f": write {setting}" if setting else ""
    raise UserError(f"command line: {shown(word)!r} must have the form key.sub=value{hint}")


def _opened(text: str) -> int:
    """Return how many brackets and braces of a text are not closed in it."""
    return sum(map(text.count, _OPEN)) - sum(map(text.count, _CLOSE))


def _explain_split(words: Sequence[str], number: int, opened: int) -> None:
    """Raise if the next words are the rest of a value that the shell has split at its blanks."""
    for last in range(number + 1, len(words)):
        opened += _opened(words[last])
        if opened <= 0:
            whole = " ".join(words[number : last + 1])
            key = whole.partition("=")[0]
            if key.startswith("storage"):  # keys may be in it
                whole = f"{key}=..."
            raise UserError(f"command line: the shell has split a value, so quote it: '{whole}'")


def _require_no_split_braces(words: Sequence[str]) -> None:
    """Refuse what is left of ``model={depth:16,width:2}`` when the shell has expanded the braces.

    It makes ``model=depth:16 model=width:2`` of it.
    """
    for first, second in itertools.pairwise(words):
        key, _, value = first.partition("=")
        other, _, next_value = second.partition("=")
        if key != other or not all(re.match(r"\[?\{?\w+:", text) for text in (value, next_value)):
            continue
        group = [word.partition("=")[2] for word in words if word.startswith(f"{key}=")]
        is_list = value.startswith("[")
        inner = ", ".join(re.sub(r":\s*", ": ", text.strip("[]")) for text in group)
        whole = f"{key}=[{{{inner}}}]" if is_list else f"{key}={{{inner}}}"
        raise UserError(f"command line: the shell has expanded braces, so quote: '{whole}'")


def meant_setting(words: Sequence[str], number: int = 0) -> str | None:
    """Return the setting that some words probably mean.

    ``--schedule.steps 60``, ``--schedule.steps=60``, ``schedule.steps 60``, ``schedule.steps: 60``,
    ``schedule.steps = 60`` mean ``schedule.steps=60``.

    Args:
        words: Words of a command line.
        number: Where they begin.
    """
    key, equals, value = words[number].partition("=")
    key = key.lstrip("-").rstrip(":")
    name = _known(key)
    if name is None:
        return None
    if not equals:
        following = [word for word in words[number + 1 : number + 3] if word not in ("=", ":")]
        is_switch = (keys.node_at(name.split(".")) or {}).get("type") == "boolean"
        value = following[0].removeprefix("=") if following else ""
        if "=" in value or re.match(r"-[^\d.]", value) or not value:
            value = "true" if is_switch else "VALUE"
    return f"{name}={value or 'VALUE'}"


def _known(key: str) -> str | None:
    """Return the key of a configuration that a word is, or is near to; None if it is none."""
    for name in (key, key.replace("-", "_")):
        parts = name.split(".")
        if not all(parts):
            return None
        if keys.node_at(parts) is not None:
            return name
    return keys.nearest_key(key.replace("-", "_").split("."))


def explain_words(words: Sequence[str], program: str, options: Iterable[str]) -> str:
    """Return what is wrong with words that no option and no setting are, as one line.

    Args:
        words: The words of a command line, from the first one that cannot be read.
        program: What is to be typed before CONFIG, for instance ``python -m train``.
        options: The options that it has.
    """
    option = words[0].partition("=")[0]
    near = nearest_word(option, options)
    if near is not None and is_close(option, near):
        return f"command line: {option}: not known: did you mean {near}? (see {program} --help)"
    usage = f"usage: {program} CONFIG [key.sub=value ...]"
    meant = meant_setting(words)
    if meant is not None:
        return f"command line: {words[0]}: settings are written {meant}, after CONFIG ({usage})"
    return f"command line: {words[0]}: not known ({usage}; see {program} --help)"


def require_config_first(words: Sequence[str], program: str) -> Path:
    """Return the configuration file, the first of the words that are no options.

    Raises:
        UserError: It is not there, or not the first; the line says what to type.
    """
    start = f"{program} CONFIG [key.sub=value ...]"
    if not words:
        example = f"{program} configs/quickstart.yaml"
        raise UserError(f"no configuration file given: {start}, for instance {example}")
    first = words[0]
    path = Path(first).expanduser() if first.startswith("~") else Path(first)
    if path.is_dir():
        raise UserError(f"configuration file {path} is a folder ({start})")
    if path.is_file():
        return path
    files = [word for word in words[1:] if "=" not in word and Path(word).is_file()]
    if files:
        rest = [word for word in words if word != files[0]]
        right = " ".join([program, files[0], *rest])
        raise UserError(f"the configuration file must come first: {right}")
    if "=" in first:
        raise UserError(f"the configuration file must come first, before {first!r}: {start}")
    raise UserError(f"configuration file {path} does not exist{_near_file(path)}")


def _near_file(path: Path) -> str:
    folder = path.parent
    try:
        files = sorted(p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml"))
    except OSError:
        return f" (nor does the folder {folder})"
    near = nearest_word(path.name, files)
    return f": did you mean {folder / near}?" if near else ""
