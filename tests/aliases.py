"""Names of types that several test folders use."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What the fixture `write_config` gives.
WriteConfig = Callable[[dict[str, Any]], Path]
# A command that has ended, and what it printed.
Ended = subprocess.CompletedProcess[str]
