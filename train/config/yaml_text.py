"""YAML as configurations use it: the plain part of it, where every text means one thing only.

What readers of YAML 1.1 and 1.2 understand differently (``010``, ``1:30``, ``1_000``) is refused,
``1e-3`` is a number, and neither dates nor ``yes`` and ``no`` are anything but texts. (A switch
takes ``yes`` all the same.) Merge keys, ``<<: *anchor``, work.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from train.errors import UserError

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))\Z"
    r"|\.(?:nan|NaN|NAN)\Z"
)
_AMBIGUOUS = re.compile(
    r"[-+]?(?:0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9]+(?::[0-5]?[0-9])+(?:\.[0-9]*)?"
    r"|[0-9]+_[0-9_]*(?:\.[0-9_]*)?)\Z"
)
_PLACEHOLDER = re.compile(r"\{\{[^{}]*\}{0,2}")

_PREFIX = "tag:yaml.org,2002:"
_TAGS = ("null", "bool", "int", "float", "str", "seq", "map", "merge")
# Far more than any configuration holds.
_MOST_VALUES = 100_000
_MOST_BYTES = 1_000_000
_MOST_DIGITS = 100
_DEEPEST = 50


class _Loader(yaml.SafeLoader):
    """Reads the plain part of YAML; refuses a key that comes twice, of which others take the last.

    Attributes:
        source: What messages call the text.
        with_lines: Whether they say the line.
        depth: How many lists and mappings are open.
    """

    source = "YAML"
    with_lines = True
    depth = 0
    yaml_implicit_resolvers = {}  # noqa: RUF012  not those of YAML 1.1

    def place(self, node: yaml.Node) -> str:
        return f"{self.source}: line {node.start_mark.line + 1}" if self.with_lines else self.source

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth > _DEEPEST:  # Python's own limit is not the same everywhere
            raise RecursionError
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is not None and node.tag.removeprefix(_PREFIX) not in _TAGS:
            tag = node.tag.replace(_PREFIX, "!!")
            raise UserError(f"{self.place(node)}: {tag} is no type of a configuration's values")
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
        elif isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        return node

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                text = node.start_mark.buffer or ""
                found = _PLACEHOLDER.search(text, node.start_mark.pointer)
                if key.start_mark.pointer == node.start_mark.pointer + 1 and found:
                    raise UserError(f"{self.place(node)}: {_unfilled(found.group())}")
                raise UserError(f"{self.place(key)}: a key must be a plain word")
            if key.value in seen:
                raise UserError(f"{self.place(key)}: {key.value!r} is there twice")
            seen.add(key.value)

    def _check_scalar(self, node: yaml.ScalarNode) -> None:
        ambiguous = node.style is None and _AMBIGUOUS.match(node.value)
        number = node.tag.removeprefix(_PREFIX) in ("int", "float")
        if (number or ambiguous) and len(node.value) > _MOST_DIGITS:
            raise UserError(f"{self.place(node)}: a number of {len(node.value):,} digits")
        if not ambiguous:
            return
        other = yaml.safe_load(node.value)
        plain = node.value.replace("_", "").lstrip("0") or "0"
        form = plain if plain.isdecimal() else "a plain number"
        also = f" (some read {other})" if str(other) not in (plain, node.value) else ""
        raise UserError(
            f"{self.place(node)}: {node.value} is ambiguous{also}: write {form}, or "
            f"'{node.value}' in quotes for a text"
        )


for _tag, _pattern, _first in (
    ("null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", _FLOAT, list("-+0123456789.")),
    ("merge", re.compile(r"<<\Z"), ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


class _Dumper(yaml.SafeDumper):
    """Writes texts in quotes that the reader would take for something else, or refuse."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Dumper.add_implicit_resolver("!ambiguous", _AMBIGUOUS, list("-+0123456789"))


def dump_yaml(tree: dict[str, Any]) -> str:
    """Return YAML that :func:`read_yaml` reads as the same values, keys in their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        UserError: It cannot be read, is no such file, has a key twice, or holds what is ambiguous.
    """
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise UserError(f"{path}: {size:,} bytes are more than any configuration has")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise UserError(f"{path}: cannot be read: {reason}") from None
    tree = _load(text, str(path))
    if not isinstance(tree, dict):
        raise UserError(f"{path}: must hold keys and values at the top level")
    return tree


def read_value(text: str, source: str) -> Any:
    """Read the value of a setting.

    Args:
        text: The value, in YAML.
        source: What messages call it.

    Raises:
        UserError: It is ambiguous, or no YAML.
    """
    return _load(text, source, with_lines=False)


def _load(text: str, source: str, with_lines: bool = True) -> Any:
    loader = None
    try:
        loader = _Loader(text)
        loader.source, loader.with_lines = source, with_lines
        node = loader.get_single_node()
        if node is None:
            return None
        _require_bounded(node, source)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise UserError(_explain(error, text, source, with_lines)) from None
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{source}: not valid YAML: {' '.join(str(reason).split())}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _require_bounded(node: yaml.Node, source: str) -> None:
    """Refuse what aliases of aliases make larger than any configuration is."""
    sizes: dict[yaml.Node, int] = {}

    def size(part: yaml.Node) -> int:
        if part not in sizes:
            inner = part.value if isinstance(part, yaml.CollectionNode) else ()
            pairs = isinstance(part, yaml.MappingNode)
            children = [c for pair in inner for c in pair] if pairs else inner
            sizes[part] = 1 + sum(map(size, children))
        return sizes[part]

    if size(node) > _MOST_VALUES:
        raise UserError(f"{source}: more than {_MOST_VALUES:,} values, those of aliases counted")


def _explain(error: yaml.MarkedYAMLError, text: str, source: str, with_lines: bool) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line if mark is not None else 0
    lines = text.splitlines()
    # A parser may notice only at the beginning of the next line.
    for number in (line, line - 1):
        found = _PLACEHOLDER.search(lines[number]) if 0 <= number < len(lines) else None
        if found:
            return f"{source}: line {number + 1}: {_unfilled(found.group())}"
    where = f"{source}: line {line + 1}" if with_lines else source
    problem = " ".join((error.problem or error.context or "").split())
    if "\t" in problem or "'\\t'" in problem:
        problem += " (indent with blanks, not with tabs)"
    elif "mapping values are not allowed" in problem:
        problem += " (a second ': ' in the line: put a text with ': ' in quotes)"
    return f"{where}: not valid YAML: {problem}"


def _unfilled(text: str) -> str:
    return f"{text} is a placeholder that nothing has filled in: write the value"
