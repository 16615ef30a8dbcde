"""Boot file of a ModelArts job; also the start of any job whose data are in object storage.

    python launch/modelarts.py --config configs/mine.yaml --data_url obs://... --train_url obs://...

Finds Python and CANN as the scripts beside it do, and hands over to launch.modelarts_job, which
knows the rest (``--help`` lists it). May be started from any folder and by any Python 3.
"""

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# exec: signals for the boot process shall reach what takes its place.
_HAND_OVER = """
root=$0 path=$1
shift
python=$(PATH="$path:$PATH" bash "$root/launch/setup.sh") || exit
source "$root/launch/environment.sh"
exec "$python" -m launch.modelarts_job "$@"
"""


def main() -> None:
    """Become ``python -m launch.modelarts_job`` with the same arguments, in the same folder."""
    # They end no job (docs/launch/signals.md): held back until the launcher asks for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGQUIT))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT) + (os.pathsep + before if before else "")
    # The Python that runs this file is the first choice: in an image whose environment is not
    # activated it is another one than the first on the PATH.
    mine = str(Path(sys.executable).parent)
    os.execvp("bash", ["bash", "-c", _HAND_OVER, str(ROOT), mine, *sys.argv[1:]])


if __name__ == "__main__":
    main()
