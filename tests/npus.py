"""A machine with NPUs, as far as device nodes tell."""

import os
import subprocess
from pathlib import Path

import pytest

_APART = ("unshare", "--mount", *(() if os.getuid() == 0 else ("--map-root-user",)))

# Puts an own /dev into the place of the usual one: what programs need of that, and the NPUs.
_INSIDE = """
set -e
dev=$0
mount -t tmpfs none "$dev"
for name in null zero full random urandom; do
    touch "$dev/$name"
    mount --bind "/dev/$name" "$dev/$name"
done
mkdir "$dev/shm"
mount --bind /dev/shm "$dev/shm"
ln -s /proc/self/fd "$dev/fd"
for number in $1; do touch "$dev/davinci$number"; done
mount --rbind "$dev" /dev
shift
exec "$@"
"""


def with_npus(folder: Path, *numbers: int) -> list[str]:
    """Words before a command that show it a machine with these NPUs: nodes without a driver.

    In a mount namespace of its own. Skips the test where that is forbidden.

    Args:
        folder: Where to put an empty folder.
        numbers: The physical numbers of the NPUs.
    """
    if subprocess.run([*_APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount namespace (unshare --mount)")
    dev = folder / f"dev_{'_'.join(map(str, numbers))}"
    dev.mkdir(exist_ok=True)
    return [*_APART, "bash", "-c", _INSIDE, str(dev), " ".join(map(str, numbers))]
