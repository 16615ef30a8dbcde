"""Real disks that are full, read-only or gone, at the start of a run, within it and at its end."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.aliases import Ended, WriteConfig
from tests.disks import with_disk
from tests.paths import ROOT

# The disk is at DISK. "fill" leaves no byte free.
_ACTIONS = """
import contextlib, os, subprocess, sys
from pathlib import Path

DISK = Path(sys.argv[1])
ELSEWHERE = DISK.with_name("elsewhere")

def fill():
    with contextlib.suppress(OSError), open(DISK / "filler", "wb", 0) as file:
        while True:
            file.write(bytes(4096))

def free():
    (DISK / "filler").unlink()

def mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)

def protect():
    mount("--bind", DISK, DISK)  # over it, as files of a run are open there
    mount("-o", "remount,bind,ro", DISK)

def unprotect():
    subprocess.run(["umount", str(DISK)], check=True)

def move(source, target):
    target.mkdir(exist_ok=True)
    mount("--move", source, target)
"""


def run_with_disk(place: Path, size: str, program: str, *arguments: object) -> Ended:
    """Run a program for which there is a disk at a place, with the actions above."""
    command = [sys.executable, "-c", _ACTIONS + program, place, *arguments]
    return subprocess.run(
        [*with_disk(place, size), *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )


# Steps after which something happens to the disk, before the checkpoint that is due there.
_TRAINING = """
from train import __main__
from train.trainer import Trainer

events = {
    4: fill, 8: free,
    10: protect, 14: unprotect,
    16: lambda: move(DISK, ELSEWHERE), 20: lambda: move(ELSEWHERE, DISK),
    24: fill,
}
consolidate = Trainer._consolidate

def hit(self, interval):
    consolidate(self, interval)
    self.folder._saver.wait()  # the one before
    events.get(interval.last, lambda: None)()

Trainer._consolidate = hit
code = __main__.main(sys.argv[2:])
print("exit code", code)
print("left:", *sorted(path.name for path in (DISK / "run/checkpoints").iterdir()))
print("summary:", (DISK / "run/summary.json").exists())
free()
Trainer._consolidate = consolidate
print("again: exit code", __main__.main(sys.argv[2:]))
print((DISK / "run/metrics.jsonl").read_text())
"""


@pytest.mark.slow
def test_whatever_the_disk_does_training_goes_on(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    """And at the end, where there is no room for what was learned, the run is not complete."""
    one_task_config["schedule"] = {"steps": 24, "consolidate_every": 2}
    one_task_config["checkpoint"] = {"every": 2, "keep": 2, "wait_seconds": 1.5}
    disk = tmp_path / "disk"
    config = write_config(one_task_config)
    ended = run_with_disk(disk, "16m", _TRAINING, config, f"run_dir={disk / 'run'}")
    assert ended.returncode == 0, ended.stderr
    out = ended.stdout
    for step, problem in {
        4: "No space left on device", 6: "No space left on device",
        10: "Read-only file system", 12: "Read-only file system",
        16: "the run folder has gone", 18: "the run folder has gone",
        24: "No space left on device",
    }.items():  # fmt: skip
        [line] = [line for line in out.splitlines() if f"checkpoint of step {step} could" in line]
        assert f"{disk}/run/checkpoints: {problem} (disk " in line
        free = "" if "gone" in problem else f"disk {disk}: "
        assert free in line and line.count(" MB free") == 1 and " MB needed)" in line
    assert out.count("could not be written") == 7 and out.count("are written again") == 3
    assert out.count("metrics.jsonl: written again, nothing is missing") >= 2  # read-only, gone

    [last] = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert "the last checkpoint could not be written for 1.5 s" in last
    assert "not complete, and the same command goes on from step_00000022" in last
    assert "exit code 1\nleft: step_00000020 step_00000022\nsummary: False\n" in out
    assert "Resuming from" in out and "again: exit code 0" in out
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, 25))


_STARTS = """
from train import __main__

for before, after in ((fill, free), (protect, unprotect)):
    before()
    print(__main__.main(sys.argv[2:]), file=sys.stderr)
    after()
"""


def test_a_run_that_can_save_nothing_is_refused(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    words = write_config(one_task_config), f"run_dir={disk / 'run'}"
    ended = run_with_disk(disk, "100k", _STARTS, *words)
    full, two, read_only, two_again = ended.stderr.splitlines()
    assert (two, two_again) == ("2", "2")
    assert full.startswith(f"error: run_dir: {disk}/run")
    assert full.endswith(f"No space left on device (disk {disk}: 0.0 MB free)")
    assert read_only.startswith(f"error: run_dir: {disk}/run")
    assert f"Read-only file system (disk {disk}: " in read_only


@pytest.mark.slow
def test_a_run_whose_checkpoints_do_not_fit_is_refused(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    one_task_config["checkpoint"] = {"every": 2, "keep": 1}
    disk = tmp_path / "disk"
    words = write_config(one_task_config), f"run_dir={disk / 'run'}"
    program = "from train import __main__; sys.exit(__main__.main(sys.argv[2:]))"
    ended = run_with_disk(disk, "600k", program, *words)
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"error: run_dir: {disk}/run: no room for 2 checkpoints of ")
    assert f"(disk {disk}: 0.6 MB free, " in line and "checkpoint.keep" in line


def test_lines_wait_for_a_disk_that_is_full(tmp_path: Path) -> None:
    """What was written of them by half is written again."""
    program = """
from train.run.metrics_file import MetricsFile

path = DISK / "metrics.jsonl"
path.write_text('{"step": 1}\\n{"step": 9}\\n{"st')
(DISK / "config.yaml").touch()
metrics = MetricsFile(path, print, lambda: None)
metrics.begin(1)
for step in range(2, 30):
    {10: fill, 20: free}.get(step, lambda: None)()
    metrics.add('{"step": %d, "text": "%s"}' % (step, "x" * 1000))
    if step == 19:
        print(metrics.missing())
assert metrics.missing() is None
print(path.read_text())
"""
    ended = run_with_disk(tmp_path / "disk", "100k", program)
    assert ended.returncode == 0, ended.stderr
    refused, missing, again, *lines = ended.stdout.splitlines()
    assert "metrics.jsonl: No space left on device (disk " in refused
    assert re.search(r"metrics.jsonl: the last [5-9] lines are missing", missing)
    assert again.endswith("metrics.jsonl: written again, nothing is missing")
    assert [json.loads(line)["step"] for line in lines if line] == list(range(1, 30))


def test_output_on_a_full_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """With how much is missing."""
    program = """
from train.program.ending import exit_code, outlive_output

os.dup2(os.open(DISK / "log", os.O_WRONLY | os.O_CREAT), 1)

def work():
    outlive_output()
    print("one", flush=True)
    fill()
    print("x" * 5000, flush=True)
    print("y", flush=True)
    free()
    print("two", flush=True)
    print("three", flush=True)
    return 7

code = exit_code(work)
print((DISK / "log").read_text(), file=sys.stderr)
sys.exit(code)
"""
    ended = run_with_disk(tmp_path / "disk", "100k", program)
    assert ended.returncode == 7
    note, *log = ended.stderr.splitlines()
    assert note.startswith("note: standard output: No space left on device")
    assert log[0] == "one" and {"two", "three"} < set(log)
    assert sum(line.endswith("bytes are missing here: the disk was full]") for line in log) == 1
