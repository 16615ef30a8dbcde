"""What a rank tells its launcher: that it is alive, and why it failed."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.aliases import WriteConfig
from tests.paths import ROOT
from train.__main__ import main
from train.process.health import Heartbeat


def test_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat({"MTLN_HEARTBEAT": str(path)})
    heartbeat.enter("consolidation", 100000)
    assert path.read_text().split() == ["100000", "consolidation", "1"]
    heartbeat.enter("data", 7)
    heartbeat.enter("step")
    before = path.stat().st_mtime_ns
    heartbeat.beat()
    assert path.stat().st_mtime_ns > before
    assert path.read_text().split() == ["7", "step", "3"]
    Heartbeat({}).enter("data", 1)


def test_a_sign_of_life_needs_no_room_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat({"MTLN_HEARTBEAT": str(path)})
    heartbeat.enter("step", 3)
    os.utime(path, (0, 0))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        heartbeat.enter("data", 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert path.stat().st_mtime > 0 and path.read_text().split() == ["3", "step", "1"]


def test_failure_is_recorded_with_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "error"
    monkeypatch.setenv("MTLN_ERROR", str(record))
    before = time.time()
    assert main([str(tmp_path / "no.yaml")]) == 2
    values = json.loads(record.read_text())
    assert before <= values["time"] <= time.time()
    assert "no.yaml" in values["message"]
    assert values["code"] == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_crash_ends_with_a_traceback_and_code_1(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    """Also where threads or MindSpore's own end would hold the process up."""
    config = write_config(one_task_config)
    program = (
        "import sys, threading, time\n"
        "from train.environment import prepare_for_mindspore\nprepare_for_mindspore()\n"
        "import train.__main__ as job, train.trainer\n"
        "def fail(self): raise RuntimeError('broken on purpose')\n"
        "train.trainer.Trainer.run = fail\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "from train.process import health\n"
        f"health.leave(job.main([{str(config)!r}, {f'run_dir={tmp_path}/run'!r}]))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert "RuntimeError: broken on purpose" in ended.stderr
    assert "Traceback (most recent call last)" in ended.stderr
