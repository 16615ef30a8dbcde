"""Command lines: a parser whose complaints are one line each, and programs that have commands.

Needs the standard library only: the launcher and the rank tables use it too.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn

from train.config.nearest import did_you_mean
from train.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser of command lines whose complaints are one line each, with the nearest option."""

    def error(self, message: str) -> NoReturn:
        """Raise what it complains of as a UserError."""
        known = self._option_string_actions
        unknown = [w.partition("=")[0] for w in message.split() if w.startswith("--")]
        near = next((did_you_mean(w, known) for w in unknown if w.rstrip(":,") not in known), "")
        raise UserError(f"{message}{near} (see {self.prog} --help)")


def command_of(prog: str, what: str, commands: Mapping[str, str], argv: Sequence[str]) -> str:
    """Read the first argument of a program that has commands.

    Args:
        prog: How the program is called.
        what: What it is, for its help.
        commands: What each command does, by its name.
        argv: All arguments.

    Raises:
        UserError: It is no command, or there is none.
    """
    width = max(map(len, commands)) + 3
    listed = "\n".join(f"  {name:<{width}}{text}" for name, text in commands.items())
    parser = Parser(
        prog=prog,
        usage="%(prog)s COMMAND ...",
        description=f"{what} COMMAND --help tells more.",
        epilog=f"commands:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", nargs="?", help="see below")
    command: str | None = parser.parse_args(argv[:1]).command
    if command is not None and command in commands:
        return command
    there = f"commands: {', '.join(commands)} ({prog} --help says what each does)"
    if command is None:
        raise UserError(f"no command given: {prog} COMMAND ...; {there}")
    near = did_you_mean(command, commands)
    raise UserError(f"there is no command {command!r}{near}; {there}")
