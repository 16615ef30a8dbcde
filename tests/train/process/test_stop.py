"""Being asked to stop, and going on later."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.aliases import WriteConfig
from tests.marked import StartMarked
from tests.paths import ROOT
from train.process.stop import StopRequest


def phase_in(heartbeat: Path) -> str:
    return heartbeat.read_text()[13:26].strip()


@pytest.mark.slow
def test_stops_at_the_next_consolidation_point_and_goes_on_as_if_it_had_not(
    one_task_config: dict[str, Any], write_config: WriteConfig, start: StartMarked, tmp_path: Path
) -> None:
    one_task_config["schedule"] = {"steps": 60, "consolidate_every": 20}
    config = write_config(one_task_config)
    heartbeat = tmp_path / "heartbeat"
    run_dir = tmp_path / "stopped"
    train = (sys.executable, "-m", "train", config)
    variables = {"MTLN_HEARTBEAT": str(heartbeat)}
    job = start(*train, f"run_dir={run_dir}", variables=variables)
    job.wait_until(lambda: heartbeat.exists() and phase_in(heartbeat) == "step")
    job.process.send_signal(signal.SIGQUIT)  # as the hang watch does
    job.process.terminate()
    code, out, err = job.finish(300)
    assert code == -signal.SIGTERM, err
    # Put back into the queue, it goes on at once on another machine.
    assert (run_dir / ".lock").exists() and not (run_dir / ".owner").exists()
    assert re.search(r'train/trainer.py", line \d+ in run', err)
    (checkpoint,) = (run_dir / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step_"))
    assert step % 20 == 0
    assert 0 < step < 60
    assert f"Stopped at step {step}" in out
    assert heartbeat.read_text().split()[:2] == [str(step), "checkpoint"]
    assert not (run_dir / "summary.json").exists()

    # Not in this process, whose operators round otherwise (tests/conftest.py).
    for run in (run_dir, tmp_path / "undisturbed"):
        start(*train, f"run_dir={run}").succeed()
    last = "checkpoints/step_00000060/model.safetensors"
    stopped, undisturbed = load_file(run_dir / last), load_file(tmp_path / "undisturbed" / last)
    for name, value in undisturbed.items():
        np.testing.assert_array_equal(stopped[name], value, err_msg=name)


def test_asked_twice_by_a_job_manager_it_goes_on() -> None:
    """The launcher passes on its own signal when every process of the job has got one."""
    program = (
        "import os, signal\n"
        "from train.process.stop import StopRequest\n"
        "with StopRequest() as request:\n"
        "    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2) * 2:\n"
        "        os.kill(os.getpid(), number)\n"
        "        print(request.number, flush=True)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["15", "1", "12"] * 2)


def test_asked_twice_by_somebody_in_a_hurry_it_dies_at_once() -> None:
    program = (
        "import os, signal, time\n"
        "from train.process.stop import StopRequest\n"
        "with StopRequest() as request:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"  # one request, by the launcher too
        "    print('noted', request.number, flush=True)\n"
        "    time.sleep(1.1)\n"
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
