"""The error for user mistakes, and how our programs report it.

Needs the standard library only: the launcher, the rank tables and the tools use it too.
"""

import re

# Exit codes of all our programs.
USER_ERROR = 2
FAILURE = 1

_PREFIX = "error: "
# Of an address: who asks, and what is asked, which may be signed.
_USER = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_QUERY = re.compile(r"(://[^\s?'\"]*)\?[^\s'\"]*[^\s'\":;,.)]")


class UserError(Exception):
    """A mistake of the user's: its message is shown without a traceback, the exit code is 2."""


def error_text(error: object) -> str:
    """Return what is printed for a mistake: every line of its message behind ``error: ``.

    Indented lines belong to the one above them. No address keeps the credentials that stand in it.
    """
    lines = without_credentials(str(error)).splitlines()
    return "\n".join(line if line.startswith(" ") else f"{_PREFIX}{line}" for line in lines)


def without_credentials(text: str) -> str:
    """Return a text whose addresses keep no secrets: ``https://USER:PASSWORD@HOST/x?SIGNATURE``."""
    return _QUERY.sub(r"\1?...", _USER.sub("...@", text))


def is_error_line(line: str) -> bool:
    """Return whether a printed line tells a mistake of the user's."""
    return line.startswith(_PREFIX)
