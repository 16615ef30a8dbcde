"""What our programs need of the Python that runs them, told in one line where it is not there.

Every program imports this before anything else. Nothing here may need more than an old Python 3
and its standard library.
"""

import importlib.util
import sys

_OLDEST = (3, 10)
# What requirements.txt installs, by the names under which it is imported.
MODULES = (
    *("mindspore", "numpy", "yaml", "pydantic", "mpi4py", "safetensors", "s3fs", "PIL"),
    *("matplotlib", "rich"),
)


def lacking(missing: "list[str]") -> str:
    """Return the line that says what this Python lacks, and the command that sets one up."""
    version = ".".join(map(str, sys.version_info[:3]))
    what = f"lacks {', '.join(missing)}" if missing else "is too old"
    return (
        f"error: {sys.executable} (Python {version}) {what}: run bash launch/setup.sh, and use "
        "the Python whose path it prints"
    )


def _check() -> None:
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing or sys.version_info < _OLDEST:
        sys.stderr.write(lacking(missing) + "\n")
        sys.exit(2)


_check()
