"""Which NPUs this server has, by their physical numbers."""

import re
import shutil
import subprocess
from pathlib import Path

from rank_tables.model import RankTableError

# Far more than any server has, so that a slip such as 0-77777777 is seen.
_MAX_NUMBER = 1023

TOOL_SECONDS = 60


def parse_numbers(text: str) -> list[int]:
    """Reads "0,2,4-7".

    Raises:
        RankTableError: it is something else, or names a device twice.
    """
    numbers: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,4})(?:-([0-9]{1,4}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last or last > _MAX_NUMBER:
            raise RankTableError(
                f"--devices {text}: {part.strip()!r} is no device number and no range such as 4-7"
            )
        numbers += range(first, last + 1)
    for number in numbers:
        if numbers.count(number) > 1:
            raise RankTableError(f"--devices {text}: device {number} is named twice")
    return numbers


def find_numbers(device_folder: Path = Path("/dev")) -> list[int]:
    """Finds all NPUs of this server.

    The N of a device node /dev/davinciN is the physical number that a rank table wants, also in a
    container, where the numbers have gaps (those of the devices it was given) while processes count
    from 0. npu-smi is asked only where there are no nodes to be seen.

    Raises:
        RankTableError: there are none, or npu-smi does not tell their physical numbers.
    """
    names = [path.name for path in device_folder.glob("davinci*")]
    nodes = [match for name in names if (match := re.fullmatch(r"davinci(\d+)", name))]
    numbers = sorted(int(match[1]) for match in nodes) or _ask_npu_smi()
    if not numbers:
        raise RankTableError(
            f"no NPU on this server (no {device_folder}/davinciN, and npu-smi lists none): "
            "name them with --devices 0-7, and their addresses with --device-ips"
        )
    return numbers


def _ask_npu_smi() -> list[int]:
    """Reads the column "Chip Phy-ID" of the mapping of cards and chips.

    Not the NPU ID that ``npu-smi info -l`` prints: that counts cards, and one may hold two NPUs.
    """
    tool = shutil.which("npu-smi")
    if tool is None:
        return []
    said = run([tool, "info", "-m"])
    rows = [re.split(r"\s{2,}|\t", line.strip()) for line in said.splitlines() if line.strip()]
    header = next((row for row in rows if "Chip Phy-ID" in row), None)
    if header is None:
        raise RankTableError(
            f"npu-smi info -m tells no Chip Phy-ID (it says {first_line(said)!r}): "
            "name the devices with --devices 0-7"
        )
    column = header.index("Chip Phy-ID")
    cells = [row[column] for row in rows[rows.index(header) + 1 :] if len(row) > column]
    return sorted(int(cell) for cell in cells if cell.isdecimal())  # a "-" is the card's own chip


def run(command: list[str]) -> str:
    """Runs one of the driver's tools and returns all that it prints, however it ends.

    Raises:
        RankTableError: it cannot be run, or hangs.
    """
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=TOOL_SECONDS,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise RankTableError(f"{command[0]} cannot be run: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise RankTableError(
            f"{' '.join(command)} has not answered in {TOOL_SECONDS} s: is the driver up?"
        ) from None
    return done.stdout


def first_line(text: str) -> str:
    """Returns the first line that says anything."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
