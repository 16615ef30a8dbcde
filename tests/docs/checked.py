"""Commands and configurations that are not run, held against the programs that they name."""

import argparse
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel

from launch.arguments import _parser as launch_parser
from rank_tables.__main__ import COMMANDS as RANK_TABLE_COMMANDS
from tests.paths import ROOT
from tools.__main__ import COMMANDS as TOOLS
from train.config.schema import Config
from train.errors import UserError

MODULES = ("tools", "train", "launch", "rank_tables", "train.native", "tests.ascend.counts")
# Made by the reader, in the pages or before them.
MADE = ("configs/mine", "data/", "runs/")
_SCRIPT = re.compile(r"(launch|tests|\.ci)/[\w/.-]+")
# Settings of a job that are no keys of a configuration.
_OF_A_JOB = ("nproc",)
_DOCKER_WORDS = ("--print", "--build", "cpu", "gpu", "ascend")


def problems(code: str) -> list[str]:
    """Return what is wrong with the commands in a piece of bash."""
    found = []
    for words in commands(code):
        for index, word in enumerate(words):
            rest = words[index + 1 :]
            if word == "-m" and rest and rest[0].split(".")[0] in MODULES:
                found += _of_a_module(rest[0], rest[1:])
                break
            if _SCRIPT.fullmatch(word):
                found += _of_a_file(word, rest)
    return found


def commands(code: str) -> Iterator[list[str]]:
    """Split bash into the words of its commands, roughly: enough for what pages show."""
    for line in re.sub(r"\\\n\s*", " ", code).splitlines():
        line = re.sub(r"\d?[<>]+&?\s*\S+", "", line)  # redirections
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.commenters = "#"
        # %, {, @ and others that are parts of words here.
        lexer.wordchars += "$%{}@:,^+[]!"
        words: list[str] = []
        for word in lexer:
            if set(word) <= set(";|&()<>"):
                yield words
                words = []
            else:
                words.append(word)
        yield words


def has_key(path: str) -> bool:
    """Return whether a configuration can have a key, written ``section.key``."""
    types: list[Any] = [Config]
    for part in path.split("."):
        types = [inner for kind in types for inner in _below(kind, part)]
    return bool(types)


def keys(tree: object, above: str = "") -> Iterator[str]:
    """Yield the keys of a configuration, the innermost ones, as ``section.key``."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from keys(value, f"{above}.{key}" if above else str(key))
    else:
        yield above


def unknown_keys(text: str) -> list[str]:
    """Return the keys of a (part of a) configuration that no configuration has."""
    tree = yaml.safe_load(text)
    return [key for key in keys(tree) if not has_key(key)]


def _below(kind: Any, key: str) -> Iterator[Any]:
    """Yield the types that a key may have in a value of a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if key in kind.model_fields:
            yield kind.model_fields[key].annotation
    elif get_origin(kind) is dict:  # the keys are names of the user's
        yield get_args(kind)[1]
    else:  # a union, or a type with marks
        for inner in get_args(kind):
            yield from _below(inner, key)


def _of_a_module(module: str, arguments: list[str]) -> list[str]:
    if importlib.util.find_spec(module) is None:
        return [f"there is no module {module}"]
    if module == "tools":
        return _of_a_tool(arguments)
    if module == "rank_tables":
        known = bool(arguments) and arguments[0] in RANK_TABLE_COMMANDS
        return [] if known else [f"rank_tables has no command {arguments[:1]}"]
    if module in ("train", "launch"):
        return _of_a_job(arguments)
    return []


def _of_a_tool(arguments: list[str]) -> list[str]:
    if not arguments or arguments[0] not in TOOLS:
        return [f"tools has no command {arguments[:1]}"]
    name, *rest = arguments
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"tools.{name.replace('-', '_')}").add_arguments(parser)
    try:
        parser.parse_args(rest)
    except (argparse.ArgumentError, SystemExit, UserError) as error:
        return [f"tools {name}: {error}"]
    return []


def _of_a_file(name: str, arguments: list[str]) -> list[str]:
    if not (ROOT / name).is_file():
        return [f"there is no {name}"]
    if name == "launch/run_docker.sh":
        while arguments and arguments[0] in _DOCKER_WORDS:
            arguments = arguments[1:]
        if arguments and not arguments[0].startswith("-") and not _is_config(arguments[0]):
            return []  # a command to run inside
    if Path(name).name.startswith("run_") or name.endswith(".sbatch"):
        return _of_a_job(arguments)
    if name == "launch/modelarts.py":
        names = [word[2:].partition("=")[0] for word in arguments if word.startswith("--")]
        settings = [name for name in names if "." in name]
        return [f"no key {key}" for key in settings if not has_key(key)]
    return []


def _of_a_job(arguments: list[str]) -> list[str]:
    try:
        given = launch_parser().parse_intermixed_args(arguments)
    except UserError as error:
        return [str(error)]
    settings = list(given.overrides)
    config = given.config
    if config and "=" in config:
        settings.append(config)
    elif config and not _is_config(config):
        return [f"there is no configuration {config}"]
    names = [setting.partition("=")[0] for setting in settings if not setting.isupper()]
    return [f"no key {name}" for name in names if name not in _OF_A_JOB and not has_key(name)]


def _is_config(word: str) -> bool:
    return "$" in word or word.startswith(MADE) or (ROOT / word).is_file()
