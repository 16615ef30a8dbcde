"""The signals of the launcher's own process."""

import subprocess
import sys

from tests.paths import ROOT


def test_what_comes_after_the_job_does_not_change_its_exit_code() -> None:
    program = (
        "import os, sys\n"
        "from launch.supervisor.child_process import Signals\n"
        "from train.process.signals import REQUESTS, STOP\n"
        "with Signals():\n"
        "    pass\n"
        "for number in (*STOP, *REQUESTS):\n"
        "    os.kill(os.getpid(), number)\n"
        "sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 7
