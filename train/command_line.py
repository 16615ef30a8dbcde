"""The command line of ``python -m train``: a configuration and settings, or a question about it."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from train.config import reference
from train.config.overrides import explain_words, require_config_first
from train.config.reader import dump_config, load_config
from train.errors import UserError
from train.program.command_line import Parser

PROGRAM = "python -m train"

_DESCRIPTION = """\
One rank of a training run. `bash launch/run_distribute_8p.sh CONFIG` sets the project up and
starts a rank for every device; this is what it starts."""


class Arguments(NamedTuple):
    """What is to be trained."""

    config: Path
    overrides: list[str]


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        usage="%(prog)s CONFIG [key.sub=value ...] [--print-config]\n"
        "       %(prog)s --help-keys [WORD]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="CONFIG", help="YAML file, see configs/")
    # For the list of --help alone: the words are told apart later.
    parser.add_argument_group().add_argument(
        "settings", nargs="*", metavar="key.sub=value", help="replaces a value of the file"
    )
    add(
        *("--help-keys",),
        nargs="?",
        const="",
        metavar="WORD",
        help="print the keys of a configuration, all or those with a word in them",
    )
    add("--print-config", action="store_true", help="print the resolved configuration, train not")
    add("--markdown", action="store_true", help="--help-keys as docs/configuration.md")
    add("--schema", action="store_true", help="print the JSON schema, configs/schema.json")
    return parser


def parse(arguments: Sequence[str]) -> Arguments | None:
    """Read the command line; None if it only asked something, which is answered.

    Raises:
        UserError: It is wrong; the line says what to type.
    """
    parser = _parser()
    known = parser._option_string_actions
    for number, word in enumerate(arguments):
        if word.startswith("-") and word.partition("=")[0] not in known:
            raise UserError(explain_words(arguments[number:], PROGRAM, known))
    given = parser.parse_intermixed_args(list(arguments))
    words = [*given.words, *given.settings]
    if given.schema:
        print(reference.schema(), end="")
    elif given.markdown:
        print(reference.markdown(), end="")
    elif given.help_keys is not None:
        print(reference.shown_keys(given.help_keys))
    else:
        path = require_config_first(words, PROGRAM)
        if not given.print_config:
            return Arguments(path, words[1:])
        print(dump_config(load_config(path, words[1:])), end="")
    return None
