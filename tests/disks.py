"""A disk of its own for a program, which can be full, read-only or gone."""

import os
import subprocess
from pathlib import Path

import pytest

_APART = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--map-root-user",)))
_INSIDE = 'mount -t tmpfs -o "size=$0" none "$1" && shift && exec "$@"'


def with_disk(place: Path, size: str) -> list[str]:
    """Words before a command that give it an empty disk of a size, such as 2m, at a place.

    In a mount namespace of its own, where the command may mount. Skips the test where that is
    forbidden.
    """
    if subprocess.run([*_APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace (unshare --mount)")
    place.mkdir()
    return [*_APART, "bash", "-c", _INSIDE, size, str(place)]
