"""Mistakes of users, from the tables beside this file: one line says all, and nothing is touched.

An entry of a table::

    - id: override-typo                  # no other entry has it
      files: {c.yaml: "seed: 1"}         # made in the empty folder in which the program runs;
                                         # a name with "/" at its end is a folder
      variables: {RANK_SIZE: "2"}        # of the environment
      run: "train c.yaml model.dept=16"  # the first word: train, launch, tools or rank_tables
      says: [model.dept, model.depth]    # all of these stand in the one line

In ``files``, ``variables``, ``run`` and ``says``, ``{records}`` is a prepared data set of two
scene classes, ``{pictures}`` the class folders that it was made of, and ``{config}`` a small
configuration that trains on it.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import launch.__main__
import rank_tables.__main__
import tools.__main__
import train.__main__
from tests.tools.data_sets import picture

TABLES = sorted(Path(__file__).parent.glob("*.yaml"))
CONFIG = """\
device: CPU
datasets: {{scenes: {{records: "{records}"}}}}
batch: {{images_per_task: 4}}
image: {{size: 16}}
model: {{depth: 10, width: 1}}
schedule: {{steps: 2, consolidate_every: 2}}
report: false
"""

Entry = dict[str, Any]


def entries() -> Iterator[Entry]:
    for table in TABLES:
        yield from yaml.safe_load(table.read_text(encoding="utf-8")) or ()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the placeholders of an entry stand for."""
    root = tmp_path_factory.mktemp("mistakes")
    for number in range(16):
        folder = root / "pictures" / ("field", "town")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, (24, 20)).save(folder / f"{number}.png")
    records = root / "records"
    source = str(root / "pictures")
    assert tools.__main__.main(["prepare", source, "--out", str(records), "--workers", "1"]) == 0
    config = root / "config.yaml"
    config.write_text(CONFIG.format(records=records))
    return {"{records}": str(records), "{pictures}": source, "{config}": str(config)}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[list[str]], int]]:
    """The programs, which fail a test as soon as they start what the mistake should prevent."""

    def start(*_: object) -> None:
        raise AssertionError("the mistake was not found: the job would have started")

    from train.distributed import cluster

    monkeypatch.setattr(cluster, "start", start)
    monkeypatch.setattr(launch.__main__, "run_job", start)
    return {
        "train": train.__main__.main,
        "launch": launch.__main__.main,
        "tools": tools.__main__.main,
        "rank_tables": rank_tables.__main__.main,
    }


def files_below(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder, with the contents of files."""
    found = {}
    for path in sorted(folder.rglob("*")):
        found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


def exit_code(program: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    try:
        return program(list(arguments))
    except SystemExit as leaving:
        return int(str(leaving.code))


def test_every_entry_has_its_own_name() -> None:
    names = [entry["id"] for entry in entries()]
    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in entries()])
def test_one_line_says_it_all(
    entry: Entry,
    places: dict[str, str],
    programs: dict[str, Callable[[list[str]], int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def filled(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    for name, text in entry.get("files", {}).items():
        path = tmp_path / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(filled(text), encoding="utf-8")
    for name, value in entry.get("variables", {}).items():
        monkeypatch.setenv(name, filled(value))
    monkeypatch.chdir(tmp_path)
    before = files_below(tmp_path)
    program, *arguments = shlex.split(filled(entry["run"]))
    capfd.readouterr()

    code = exit_code(programs[program], arguments)

    told = capfd.readouterr().err
    assert (code, len(told.splitlines())) == (2, 1), told
    missing = [text for text in entry["says"] if filled(text) not in told]
    assert not missing, told
    assert files_below(tmp_path) == before
