"""All keys of a configuration, read from the models: types, defaults, texts, nearest names."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from train.config.nearest import is_close, nearest_word
from train.config.schema import Config

Node = Mapping[str, Any]
# Stands for any name of a data set or task, and for any number in a list, in the name of a key.
NAME, NUMBER = "NAME", "N"
# Of older configurations only: read, but neither listed nor suggested.
OLD = "on_bad_record"

# What other programs call it.
_ALIASES = {
    "lr": "optimizer.learning_rate",
    "epoch": "schedule.steps",
    "epochs": "schedule.steps",
    "num_epochs": "schedule.steps",
    "max_steps": "schedule.steps",
    "iterations": "schedule.steps",
    "iters": "schedule.steps",
    "warmup_steps": "schedule.warmup",
    "batch_size": "batch.images_per_task",
    "batch.size": "batch.images_per_task",
    "img_size": "image.size",
    "imgsz": "image.size",
    "image_size": "image.size",
    "backbone": "model.trunk",
    "arch": "model.trunk",
    "pretrained": "init_from",
    "weights": "init_from",
    "output_dir": "run_dir",
    "out": "run_dir",
    "save_dir": "run_dir",
    "save_every": "checkpoint.every",
    "eval_every": "evaluate.every",
    "amp": "precision",
    "fp16": "precision",
    "num_classes": "tasks.NAME.classes",
    "data": "datasets.NAME.records",
}


@dataclass(frozen=True)
class Key:
    """A key of a configuration.

    Attributes:
        name: ``model.depth``, ``datasets.NAME.records``, ``image.stages.N.size``.
        kind: What its value must be, in words.
        default: Its default in YAML, None if it must be given.
        text: What it means.
        is_section: Whether it holds other keys.
    """

    name: str
    kind: str
    default: str | None
    text: str
    is_section: bool = False


@cache
def json_schema() -> dict[str, Any]:
    """Return the JSON schema of configuration files, as editors use it."""
    schema = Config.model_json_schema()
    # The reader fills these in, and drops a key of old.
    schema["required"] = [k for k in schema["required"] if k not in ("run_dir", "tasks")]
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema


def all_keys() -> tuple[Key, ...]:
    """Return all keys in the order of the models, sections before what is in them."""
    return tuple(_keys(json_schema(), ()))


def _keys(section: Node, above: tuple[str, ...]) -> Iterator[Key]:
    required = section.get("required", ())
    for name, node in section.get("properties", {}).items():
        place = (*above, name)
        inner, below = _section_in(node)
        text = node.get("description") or (inner or {}).get("description", "")
        is_plain_section = inner is not None and not below
        default = None if name in required else _yaml(node.get("default"))
        if place == ("run_dir",):
            default = "runs/NAME of the file"
        elif is_plain_section or place in (("datasets",), ("tasks",)):
            default = ""
        yield Key(".".join(place), _words(node), default, text, is_plain_section)
        # What a data set says of its augmentations is what "augment" says of all.
        if inner is not None and place != ("datasets", NAME, "augment"):
            yield from _keys(inner, (*place, *below))


def _section_in(node: Node) -> tuple[Node | None, tuple[str, ...]]:
    """Return the section that a key holds, and the names that lead from the key to it."""
    for form in node.get("anyOf", [node]):
        if "$ref" in form:
            return _resolved(form), ()
        if "items" in form and "$ref" in form["items"]:
            return _resolved(form["items"]), (NUMBER,)
        for value in form.get("patternProperties", {}).values():
            if "$ref" in value:
                return _resolved(value), (NAME,)
    return None, ()


def _resolved(node: Node) -> Node:
    if "$ref" not in node:
        return node
    found: Node = json_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    # A data set may also be given as a text, the place of its records.
    return next((form for form in found.get("anyOf", ()) if "properties" in form), found)


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _words(node: Node) -> str:
    """Return what a value must be."""
    if forms := node.get("anyOf"):
        kinds = [form.get("format", form.get("type")) for form in forms]
        if kinds[:2] == ["path", "string"]:
            return " or ".join(["path, s3://... or obs://...", *kinds[2:]])
        return " or ".join(dict.fromkeys(_words(form) for form in forms))
    if "enum" in node or "const" in node:
        return " or ".join(map(str, node.get("enum", [node.get("const")])))
    if "$ref" in node:
        return "keys and values"
    kind = node.get("type")
    if kind == "array":
        parts = node.get("prefixItems")
        if parts:
            return f"[{', '.join(_words(part) for part in parts)}]"
        return f"list of {_words(node['items'])}" if "items" in node else "list"
    if kind == "object":
        values = next(iter(node.get("patternProperties", {}).values()), None)
        values = values or node.get("additionalProperties")
        return f"name: {_words(values)}" if isinstance(values, Mapping) else "keys and values"
    if node.get("format") == "path":
        return "path"
    if str(node.get("pattern", "")).startswith("^\\s*(\\d"):
        return "size like 500MB"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    names |= {"string": "text", "null": "null"}
    return names.get(str(kind), "value") + _bounds(node)


def _bounds(node: Node) -> str:
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    found = [f"{sign} {node[name]:g}" for name, sign in words.items() if name in node]
    return f" {', '.join(found)}" if found else ""


def node_at(place: Sequence[str]) -> Node | None:
    """Return the schema of what stands at a place, None if there is no such key."""
    node: Node | None = json_schema()
    for part in place:
        node = _child(node, part) if node is not None else None
    return node


def _child(node: Node, part: str) -> Node | None:
    for form in node.get("anyOf", [node]):
        form = _resolved(form)
        if part in form.get("properties", {}):
            child: Node = form["properties"][part]
            return child
        named = next(iter(form.get("patternProperties", {}).values()), None)
        named = named or form.get("additionalProperties") or form.get("items")
        if isinstance(named, Mapping):
            return named
    return None


def is_text(place: Sequence[str]) -> bool:
    """Return whether a value at a place can be nothing but a text: a path, a name."""
    node = node_at(place)
    forms = node.get("anyOf", [node]) if node else []
    kinds = {form.get("type") for form in forms if form.get("type") != "null"}
    return kinds == {"string"} and not any("enum" in form for form in forms)


def choices_at(place: Sequence[str]) -> list[str]:
    """Return the words among which the value at a place is one; nothing if it is free."""
    node = node_at(place) or {}
    forms = node.get("anyOf", [node])
    return [str(word) for form in forms for word in form.get("enum", [])]


def allowed_keys(place: Sequence[str]) -> list[str]:
    """Return the keys that may stand in the section at a place."""
    node = node_at(place) or {}
    forms = [_resolved(form) for form in node.get("anyOf", [node])]
    names = [name for form in forms for name in form.get("properties", {})]
    return [name for name in names if name != OLD]


def nearest_key(place: Sequence[str]) -> str | None:
    """Return the key that was meant where there is none: in the same section, or in another."""
    above, last = tuple(place[:-1]), place[-1]
    allowed = allowed_keys(above)
    if (near := nearest_word(last, allowed)) is not None and is_close(last, near):
        return ".".join((*above, near))
    path = ".".join(place)
    if path in _ALIASES:
        return _ALIASES[path]
    names = {key.name for key in all_keys()}
    ends = [name for name in names if name.rpartition(".")[2] == last]
    if ends:
        return min(ends, key=lambda name: (name.count("."), name))
    if last in _ALIASES:
        return _ALIASES[last]
    if near is not None:
        return ".".join((*above, near))
    leaves = {name.rpartition(".")[2]: name for name in sorted(names, reverse=True)}
    for word, known in ((path, {name: name for name in names}), (last, leaves)):
        near = nearest_word(word, sorted(known))
        if near is not None and is_close(word, near):
            return known[near]
    return None
