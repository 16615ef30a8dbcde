"""run_docker.sh on machines of each kind, with a stand-in for the engine."""

import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.aliases import Ended
from tests.paths import ROOT

# Notes how it is called. It knows the images in $IMAGES, and prints $INFO as `docker info`.
ENGINE = """\
#!{python}
import json, os, sys, time
arguments = sys.argv[1:]
if arguments == ["info"]:
    print(os.environ.get("INFO", ""))
elif arguments[:2] == ["image", "inspect"]:
    sys.exit(arguments[2] not in os.environ.get("IMAGES", "").split())
else:
    with open({calls!r}, "a") as file:
        file.write(json.dumps([os.getpid(), *arguments]) + "\\n")
    time.sleep(float(os.environ.get("SLEEP", "0")) * (arguments[0] == "run"))
    sys.exit(int(os.environ.get("CODE", "0")) * (arguments[0] == "run"))
"""


class Host:
    """A machine with a checkout of the project, an engine, and devices as plain files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "host"
        self.bin = folder / "bin"
        self.checkout = folder / "check out"
        self.here = folder / "some where"
        self.calls_file = folder / "calls"
        for path in (self.root / "dev", self.bin, self.here, self.checkout / "configs"):
            path.mkdir(parents=True)
        shutil.copytree(ROOT / "launch", self.checkout / "launch")
        (self.here / "mine.yaml").write_text("a: 1\n")
        self.program("docker", ENGINE.format(python=sys.executable, calls=str(self.calls_file)))

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def file(self, path: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).touch()

    def variables(self, **variables: str) -> dict[str, str]:
        return {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.folder),
            "MTLN_HOST_ROOT": str(self.root),
            **variables,
        }

    @property
    def script(self) -> str:
        return str(self.checkout / "launch" / "run_docker.sh")

    def run(self, *arguments: str, **variables: str) -> Ended:
        return subprocess.run(
            ["bash", self.script, *arguments],
            cwd=self.here,
            env=self.variables(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of all calls of the engine that did something."""
        if not self.calls_file.exists():
            return []
        return [json.loads(line)[1:] for line in self.calls_file.read_text().splitlines()]

    def started(self, *arguments: str, **variables: str) -> list[str]:
        """The arguments of the engine's run."""
        ended = self.run(*arguments, **variables)
        assert ended.returncode == 0, ended.stderr
        return self.calls[-1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def npu_host(host: Host) -> Host:
    # Numbers with a gap and of two digits, as on real servers.
    for name in ("davinci0", "davinci2", "davinci10", "davinci_manager", "devmm_svm", "hisi_hdc"):
        host.file(f"dev/{name}")
    for path in ("usr/local/Ascend/driver/version.info", "usr/local/bin/npu-smi", "etc/hccn.conf"):
        host.file(path)
    return host


def values(arguments: list[str], option: str) -> list[str]:
    """The values of an option, given as ``-o value`` or ``-o=value``."""
    after = [b for a, b in itertools.pairwise(arguments) if a == option]
    return after + [a.partition("=")[2] for a in arguments if a.startswith(f"{option}=")]


def test_cpu_node(host: Host) -> None:
    ended = host.run("mine.yaml", "nproc=2")
    assert ended.returncode == 0, ended.stderr
    build, run = host.calls
    assert build == ["build", "--target", "cpu", "-t", "mtln:cpu", str(host.checkout)]
    config = f"{host.here}/mine.yaml"
    assert run[0:2] == ["run", "--rm"]
    assert run[-3:] == ["mtln:cpu", config, "nproc=2"]
    assert values(run, "-v") == [
        f"{config}:{config}:ro",
        f"{host.checkout}/data:/mtln/data",
        f"{host.checkout}/runs:/mtln/runs",
    ]
    assert values(run, "--user") == [f"{os.getuid()}:{os.getgid()}"]
    assert {"--network=host", "--ipc=host"} <= set(run)
    assert not values(run, "--device")
    assert "--gpus" not in run
    # The engine would make them, as root.
    assert (host.checkout / "runs").is_dir()
    assert (host.checkout / "data").is_dir()


def test_npu_node(npu_host: Host) -> None:
    run = npu_host.started("mine.yaml", IMAGES="mtln:ascend")
    assert values(run, "--device") == [
        *("/dev/davinci0", "/dev/davinci2", "/dev/davinci10"),
        *("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"),
    ]
    # What the machine does not have (dcmi) is not passed: the engine would make a folder of it.
    assert [mount for mount in values(run, "-v") if mount.endswith(":ro")][:3] == [
        "/usr/local/Ascend/driver:/usr/local/Ascend/driver:ro",
        "/usr/local/bin/npu-smi:/usr/local/bin/npu-smi:ro",
        "/etc/hccn.conf:/etc/hccn.conf:ro",
    ]
    group = (npu_host.root / "dev" / "davinci0").stat().st_gid
    assert values(run, "--group-add") == [str(group)]
    assert run[-2:] == ["mtln:ascend", f"{npu_host.here}/mine.yaml"]
    assert len(npu_host.calls) == 1  # the image is there: no build


@pytest.mark.parametrize(("chosen", "passed"), [("2,10", [2, 10]), ("0", [0]), ("2-2,0", [2, 0])])
def test_some_of_the_npus(npu_host: Host, chosen: str, passed: list[int]) -> None:
    run = npu_host.started(ASCEND_VISIBLE_DEVICES=chosen)
    assert values(run, "--device")[:-3] == [f"/dev/davinci{number}" for number in passed]


def test_gpu_node(host: Host) -> None:
    host.program("nvidia-smi", "#!/bin/sh\necho 'GPU 0: V100'\necho 'GPU 1: V100'\n")
    run = host.started("mine.yaml")
    assert values(run, "--gpus") == ["all"]
    assert run[-4:] == ["mtln:gpu", f"{host.here}/mine.yaml", "device=GPU", "nproc=2"]
    run = host.started("gpu", "nproc=1", "device=CPU")
    assert run[-3:] == ["mtln:gpu", "nproc=1", "device=CPU"]


def test_gpu_node_by_the_engine_s_runtimes(host: Host) -> None:
    run = host.started(INFO=" Runtimes: io.containerd.runc.v2 nvidia runc")
    assert "mtln:gpu" in run
    assert "nproc=1" in run


def test_other_engines_and_without_root(host: Host) -> None:
    engine = host.bin / "podman"
    (host.bin / "docker").rename(engine)
    run = host.started("gpu", DOCKER="podman", INFO="    rootless: true")
    assert values(run, "--device") == ["nvidia.com/gpu=all"]
    assert values(run, "--userns") == ["keep-id"]
    engine.rename(host.bin / "nerdctl")
    run = host.started(
        "cpu", DOCKER=str(host.bin / "nerdctl"), INFO=" Security Options:\n  rootless"
    )
    assert values(run, "--user") == ["0:0"]


def test_commands_in_the_container(host: Host) -> None:
    run = host.started("cpu", "python3", "-m", "tools", "doctor", "--quick")
    assert run[-6:] == ["mtln:cpu", "python3", "-m", "tools", "doctor", "--quick"]


def test_run_folder_and_rank_table_are_mounted(npu_host: Host) -> None:
    here = npu_host.here
    (here / "a table.json").write_text("{}")
    tables = here / "tables"
    tables.mkdir()
    run = npu_host.started(
        *("mine.yaml", "run_dir=my out", "--rank-table", "a table.json"),
        RANK_TABLE_FILE=str(tables),
    )
    assert run[-4:] == [
        f"{here}/mine.yaml",
        f"run_dir={here}/my out",
        "--rank-table",
        f"{here}/a table.json",
    ]
    assert {
        f"{here}/my out:{here}/my out",
        f"{here}/a table.json:{here}/a table.json:ro",
        f"{tables}:{tables}:ro",
    } <= set(values(run, "-v"))
    assert f"RANK_TABLE_FILE={tables}" in values(run, "-e")
    assert (here / "my out").is_dir()


def test_variables_go_in_without_their_values(host: Host) -> None:
    run = host.started(
        HCCL_EXEC_TIMEOUT="99",
        AWS_SECRET_ACCESS_KEY="of no one",
        AWS_CA_BUNDLE="/a/path/here",
        MTLN_PYTHON="/a/path/here",
        UNRELATED="x",
    )
    assert sorted(values(run, "-e")) == ["AWS_SECRET_ACCESS_KEY", "HCCL_EXEC_TIMEOUT"]
    assert "of no one" not in " ".join(run)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [([], 90), (["--grace", "300"], 330), (["--grace=0.5"], 30)],
)
def test_engine_waits_longer_than_the_launcher(
    host: Host, options: list[str], seconds: int
) -> None:
    assert values(host.started("mine.yaml", *options), "--stop-timeout") == [str(seconds)]


def test_image_of_the_user_and_more_options(host: Host) -> None:
    run = host.started(
        "cpu", MTLN_IMAGE="registry/mtln:7", DOCKER_OPTIONS="-v /big:/big:ro --cpuset-cpus 0-3"
    )
    assert run[-5:] == ["-v", "/big:/big:ro", "--cpuset-cpus", "0-3", "registry/mtln:7"]
    assert len(host.calls) == 1


def test_build_is_forced_and_takes_the_base(npu_host: Host) -> None:
    npu_host.started("--build", "ascend", IMAGES="mtln:ascend", CANN_IMAGE="cann:910")
    assert values(npu_host.calls[0], "--build-arg") == ["CANN_IMAGE=cann:910"]


def test_print_shows_commands_that_a_shell_understands(npu_host: Host) -> None:
    printed = npu_host.run("--print", "mine.yaml", "run_dir=my out", "x=a b")
    assert printed.returncode == 0, printed.stderr
    assert npu_host.calls == []
    assert not (npu_host.here / "my out").exists()
    assert not (npu_host.checkout / "runs").exists()
    npu_host.run("mine.yaml", "run_dir=my out", "x=a b")
    shown = [*printed.stderr.splitlines(), *printed.stdout.splitlines()]
    assert [shlex.split(line)[1:] for line in shown] == npu_host.calls


def test_print_needs_no_engine(host: Host) -> None:
    assert host.run("--print", DOCKER="no-such-engine").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["none.yaml"], {}, "configuration file none.yaml does not exist"),
        (["cpu"], {"DOCKER": "no-such"}, "no-such is not installed (DOCKER names another engine"),
        (["ascend"], {"MTLN_HOST_ROOT": "/none"}, "this machine has no NPU: there is no /dev/dav"),
        ([], {"ASCEND_VISIBLE_DEVICES": "0-2"}, "names NPU 1; this machine has 0, 2, 10"),
        ([], {"ASCEND_VISIBLE_DEVICES": "all"}, "is 'all', not like 0-3 or 0,2,5"),
        (["mine.yaml", "--grace", "soon"], {}, "--grace must be a number of seconds, not 'soon'"),
        (["--rank-table", "none.json"], {}, "none.json does not exist"),
    ],
)
def test_mistakes_are_one_line(
    npu_host: Host, arguments: list[str], variables: dict[str, str], message: str
) -> None:
    ended = npu_host.run(*arguments, **variables)
    assert ended.returncode == 2, ended.stderr
    assert message in ended.stderr
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1
    assert npu_host.calls == []


def test_engine_takes_the_place_of_the_script(host: Host) -> None:
    """So that a signal to the script is one to the engine, and its exit code is the script's."""
    process = subprocess.Popen(
        ["bash", host.script, "cpu"], env=host.variables(IMAGES="mtln:cpu", SLEEP="60")
    )
    deadline = time.monotonic() + 60
    while not host.calls:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert json.loads(host.calls_file.read_text())[0] == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == -signal.SIGTERM
    assert host.run("cpu", IMAGES="mtln:cpu", CODE="124").returncode == 124
