"""The reference of all keys: for the terminal, as ``docs/configuration.md``, as a JSON schema."""

import json
import re
import textwrap
from collections.abc import Iterable

from train.config.keys import OLD, Key, all_keys, json_schema
from train.config.nearest import did_you_mean
from train.errors import UserError

_WIDTH = 100

_HEAD = """\
# Configuration

All keys of a configuration file, with type, default and meaning. This page is made from the
declarations in `train/config/` by `python -m train --help-keys --markdown`; the same in a
terminal, for keys with a word in them: `python -m train --help-keys WORD`.

A configuration is a YAML file; a setting on the command line replaces one of its values:
`key.sub=value`, the value again in YAML. Quote what the shell would read itself, such as
`'image.stages=[{until: 0.5, size: 32}]'`. `NAME` stands for the name of a data set or a task, `N`
for a place in a list. What is left out has its default; `python -m train CONFIG --print-config`
prints the configuration with all of them.

* **Texts and numbers.** `1e-3` is a number. What readers of YAML understand differently (`010`,
  `1:30`, `1_000`) is refused. Merge keys (`<<: *anchor`) work; placeholders such as `{{DATA}}` do
  not.
* **Paths** are relative to the folder in which the program runs. `~` is the home folder. Where the
  table says so, an address in object storage can stand in their place ([storage.md](storage.md)).
* **Editors** that know the YAML language server complete and check keys by
  [`configs/schema.json`](../configs/schema.json), which the first line of every shipped
  configuration names.

## A longer run

A run can be lengthened: give the same command with a larger `schedule.steps`, and it goes on from
its newest checkpoint. The schedule is stretched over the new length, so the learning rate, which
was (nearly) zero at the end, jumps back up to where the longer schedule has it at this step, and
images may be small again where `image.stages` says so. The run says by how much. A run of the full
length from the start is the better one where there is time for it.

## One run, one folder

A run folder has one owner: a second start with the same `run_dir` is refused as long as the first
one runs, on the same machine or on another one that shares the folder. The folder of a run that
crashed is free at once on the same machine, and a minute later elsewhere.

## Keys
"""


def shown_keys(word: str = "") -> str:
    """Return the keys that have a word in their name or text, for a terminal.

    Raises:
        UserError: There are none.
    """
    known = [key for key in all_keys() if key.name != OLD]
    found = [key for key in known if word.lower() in f"{key.name} {key.text}".lower()]
    # What has the word in its name says more than what has it in its text alone.
    found = [key for key in found if word.lower() in key.name.lower()] or found
    if not found:
        hint = did_you_mean(word, [part for key in known for part in key.name.split(".")])
        raise UserError(f"--help-keys {word}: no key has this in its name or text{hint}")
    return "\n".join(_block(key) for key in found)


def _block(key: Key) -> str:
    head = key.name if key.is_section else f"{key.name}: {_kind(key)}"
    text = " ".join(key.text.replace("``", "").split())
    return "\n".join([head, *(f"    {line}" for line in textwrap.wrap(text, _WIDTH - 4))])


def _kind(key: Key) -> str:
    default = "required" if key.default is None else f"default {key.default or 'nothing'}"
    return f"{key.kind} ({default})"


def markdown() -> str:
    """Return ``docs/configuration.md``."""
    top: list[Key] = []
    sections: list[tuple[Key, list[Key]]] = []
    for key in all_keys():
        if key.name == OLD:
            continue
        below = bool(sections) and key.name.startswith(f"{sections[-1][0].name}.")
        if key.name in ("datasets", "tasks") or (key.is_section and not below):
            sections.append((key, []))
        elif below:
            sections[-1][1].append(key)
        else:
            top.append(key)
    parts = [_HEAD, _table(top)]
    for section, keys in sections:
        parts += [f"### {section.name}\n", f"{_text(section)}\n", _table(keys)]
    return "\n".join(parts)


def _table(keys: Iterable[Key]) -> str:
    rows = [f"| `{k.name}` | {_cell(k.kind)} | {_default(k)} | {_cell(_text(k))} |" for k in keys]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows, ""])


def _default(key: Key) -> str:
    if key.default is None:
        return "required"
    return f"`{key.default}`" if key.default else ""


def _text(key: Key) -> str:
    text = re.sub(r"``(.*?)``", r"`\1`", " ".join(key.text.split()))
    return text.replace("docs/", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text


def schema() -> str:
    """Return ``configs/schema.json``."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
