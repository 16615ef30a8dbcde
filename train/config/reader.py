"""Reading a configuration: YAML file plus ``key.sub=value`` overrides, with every error at once."""

from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from train.config import keys
from train.config.nearest import did_you_mean
from train.config.overrides import Tree, apply_overrides
from train.config.schema import Config
from train.config.yaml_text import dump_yaml, read_yaml
from train.errors import UserError
from train.storage.address import default_run_dir
from train.storage.secrets import is_secret

Key = tuple[str, ...]

_LONGEST_VALUE = 300
_LONGEST_MEANING = 60

# What pydantic finds wrong with a value, in the words of a file instead of Python's.
_BOUNDS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_MESSAGES = {
    **dict.fromkeys(["dict_type", "model_type", "dataclass_type"], "must hold keys and values"),
    **dict.fromkeys(["int_type", "int_parsing", "int_from_float"], "must be a whole number"),
    **dict.fromkeys(["float_type", "float_parsing"], "must be a number"),
    **dict.fromkeys(["bool_type", "bool_parsing"], "must be true or false"),
    **dict.fromkeys(["list_type", "tuple_type"], "must be a list"),
    "finite_number": "must be a finite number",
    **dict.fromkeys(["byte_size", "byte_size_unit"], "must be a size like 500MB or 4GB"),
    "path_type": "must be a path (in quotes, if it looks like a number)",
    "string_type": "must be a text (in quotes, if it looks like a number)",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} value(s)",
    "too_long": "must have at most {max_length} values",
    "string_pattern_mismatch": "a name is made of letters, digits, _ and -, with a letter first",
}


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration and resolve what it leaves open.

    Args:
        path: YAML file.
        overrides: ``key.sub=value`` each; the value is YAML.

    Raises:
        UserError: One line per mistake, with file (or "command line"), key, value and what is
            allowed.
    """
    tree = read_yaml(path)
    overridden = apply_overrides(tree, overrides)
    tree.setdefault("run_dir", default_run_dir(path))
    added = _add_default_tasks(tree) | _inherit_augment(tree)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        # What was added here repeats what stands elsewhere, whose mistakes are told there.
        told = [e for e in error.errors() if not any(e["loc"][: len(key)] == key for key in added)]
        meant = {keys.nearest_key(place(e)) for e in told if e["type"] == "extra_forbidden"}
        lines = [
            _explain(e, path, overridden)
            for e in told
            # What is missing is there under a wrong name.
            if not (e["type"] == "missing" and ".".join(place(e)) in meant)
        ]
        raise UserError("\n".join(lines)) from None


def dump_config(config: Config) -> str:
    """Return the configuration as YAML that :func:`load_config` reads again."""
    return dump_yaml(config.model_dump(mode="json"))


def _add_default_tasks(tree: Tree) -> set[Key]:
    """Give every data set that no task names a scene task of its own name; return their keys."""
    datasets, tasks = tree.get("datasets"), tree.setdefault("tasks", {})
    if not isinstance(datasets, dict) or not isinstance(tasks, dict):
        return set()
    # A list: what stands for a name may be anything yet.
    named = [task.get("dataset", name) for name, task in tasks.items() if isinstance(task, dict)]
    added = [name for name in datasets if name not in named and name not in tasks]
    # In the order of the data sets, which is that of the tables and logs.
    first = [name for name in datasets if name in tasks or name in added]
    tree["tasks"] = {name: tasks.get(name, {}) for name in [*first, *tasks]}
    return {("tasks", name) for name in added}


def _inherit_augment(tree: Tree) -> set[Key]:
    """Fill in what the augmentations of a data set leave open; return the keys that were added."""
    common, datasets = tree.get("augment"), tree.get("datasets")
    if not isinstance(common, dict) or not isinstance(datasets, dict):
        return set()
    added: set[Key] = set()
    for name, dataset in datasets.items():
        own = dataset.get("augment") if isinstance(dataset, dict) else None
        if isinstance(own, dict):
            added |= {("datasets", name, "augment", key) for key in common if key not in own}
            dataset["augment"] = {**common, **own}
    return added


def _explain(error: ErrorDetails, path: Path, overridden: Collection[Key]) -> str:
    """Put one of pydantic's errors into one line."""
    where = place(error)
    source = "command line" if _is_overridden(where, overridden) else str(path)
    if error["type"] == "extra_forbidden":
        return f"{source}: {'.'.join(where)}: {_unknown(where)}"
    # What stands in the place of a secret may be one, also if it is none in this form.
    key, message = ".".join(where), explain(error, with_value=not is_secret(where))
    if isinstance(error["input"], str) and (choices := keys.choices_at(where)):
        message += did_you_mean(error["input"], choices)
    message += _form_of(where, error["input"]) or _meaning(where, error)
    if error["type"] == "missing":
        return f"{path}: {key}: {message}"
    return f"{source}: {key}: {message}" if key else f"{path}: {message}"


def _unknown(where: Key) -> str:
    """Return what to do about a key that there is not."""
    *above, last = where
    section, _, inner = last.partition(".")
    if inner and keys.node_at([*above, *last.split(".")]) is not None:
        return f"only the command line has dots in keys: write {section}: and below it {inner}:"
    nearest = keys.nearest_key(where)
    hint = f": did you mean {nearest}?" if nearest else ""
    allowed = keys.allowed_keys(above)
    listed = f"allowed here: {', '.join(allowed)}" if above else "all keys: --help-keys"
    return f"unknown key{hint} ({listed})"


def _form_of(where: Key, value: object) -> str:
    """Return the form in which to give what was given as a list, or as too little."""
    if where == ("datasets",) and isinstance(value, list):
        return " (write datasets: {NAME: {records: FOLDER}, ...})"
    if where == ("tasks",) and isinstance(value, list):
        return " (write tasks: {NAME: {dataset: NAME}, ...})"
    if where == ("datasets",) and isinstance(value, str):
        return " (write datasets: {NAME: " + value + "})"
    inner = keys.allowed_keys(where)
    if inner and value is None:
        return " (it is empty: give it keys, or leave it out)"
    for name in inner if isinstance(value, str) else ():
        if value in keys.choices_at((*where, name)):
            return (
                f" (write {'.'.join((*where, name))}={value}, in a file {name}: {value} below it)"
            )
    return ""


def _meaning(where: Key, error: ErrorDetails) -> str:
    """Return what the number at a place means, if it is out of its bounds and that is short."""
    text = str((keys.node_at(where) or {}).get("description", "")).rstrip(".")
    is_told = error["type"] in _BOUNDS and 0 < len(text) <= _LONGEST_MEANING
    return f" ({text})" if is_told else ""


def _is_overridden(where: Key, overridden: Collection[Key]) -> bool:
    """Return whether an override set what is at a place, or a part of it."""
    common = [min(len(where), len(key)) for key in overridden]
    return any(n > 0 and where[:n] == key[:n] for n, key in zip(common, overridden, strict=True))


def place(error: ErrorDetails) -> tuple[str, ...]:
    """Return the keys that lead to the value that one of pydantic's errors is about."""
    return tuple(str(part) for part in error["loc"] if part != "[key]")


def explain(error: ErrorDetails, with_value: bool = True) -> str:
    """Return one line on one of pydantic's errors, without its place.

    Args:
        error: The error.
        with_value: Whether the line may show the value, which may be a secret.
    """
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    message = _MESSAGES.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    shown = f", not {error['input']!r:.{_LONGEST_VALUE}}"
    return message + shown if with_value else message
