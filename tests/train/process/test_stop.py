"""Being asked to stop, telling the launcher, and going on later."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.paths import ROOT
from train.__main__ import main
from train.process.health import Heartbeat
from train.process.stop import StopRequest

WriteConfig = Callable[[dict[str, Any]], Path]


def start(config: Path, run_dir: Path, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "train", str(config), f"run_dir={run_dir}"],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_stops_at_the_next_consolidation_point_and_goes_on_as_if_it_had_not(
    one_task_config: dict[str, Any], write_config: WriteConfig, tmp_path: Path
) -> None:
    one_task_config["schedule"] = {"steps": 60, "consolidate_every": 20}
    config = write_config(one_task_config)
    heartbeat = tmp_path / "heartbeat"
    run_dir = tmp_path / "stopped"
    process = start(config, run_dir, MTLN_HEARTBEAT=str(heartbeat))
    while not heartbeat.exists() or not heartbeat.read_text().strip():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGUSR1)  # as the hang watch does
    process.terminate()
    out, err = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGTERM, err
    assert re.search(r'train/trainer.py", line \d+ in run', err)
    (checkpoint,) = (run_dir / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    assert step % 20 == 0
    assert 0 < step < 60
    assert f"Stopped at step {step}" in out
    assert int(heartbeat.read_text()) == step
    assert not (run_dir / "summary.json").exists()

    # Not in this process, whose operators round otherwise (tests/conftest.py).
    for run in (run_dir, tmp_path / "undisturbed"):
        process = start(config, run)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    last = "checkpoints/step_00000060/model.safetensors"
    stopped, undisturbed = load_file(run_dir / last), load_file(tmp_path / "undisturbed" / last)
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(stopped[name], value, err_msg=name)


def test_asked_twice_it_dies_at_once() -> None:
    program = (
        "import os, signal, time\n"
        "from train.process.stop import StopRequest\n"
        "with StopRequest() as request:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('noted', request.number, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here', flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "noted 2\n")


def test_signals_are_left_as_they_were_found() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert request.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat({"MTLN_HEARTBEAT": str(path)})
    for step in (100000, 7):
        heartbeat.beat(step)
        assert int(path.read_text()) == step
    Heartbeat({}).beat(1)


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
