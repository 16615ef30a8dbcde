"""The images: what a container runs, what the Dockerfile says, whether CUDA is whole."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.aliases import Ended
from tests.launch.checkout import ON_PAPER, VARIABLES, copy_checkout
from tests.paths import ROOT
from tools.doctor import gpu

TRAIN = """\
import os, sys
print(*sys.argv[1:], "cwd=" + os.getcwd(), sep="|")
sys.exit(int(os.environ.get("CODE", "0")))
"""


@pytest.fixture
def container(tmp_path: Path) -> Callable[..., Ended]:
    """Runs entrypoint.sh in a checkout, with a stand-in for the training."""
    configs = {"quickstart.yaml": ON_PAPER}
    root = copy_checkout(tmp_path / "check out", configs, train=TRAIN)
    (root / "data/demo/records").mkdir(parents=True)

    def run(*arguments: str, **variables: str) -> Ended:
        return subprocess.run(
            ["bash", str(root / "launch" / "entrypoint.sh"), *arguments],
            cwd=root,
            env={"PATH": "/usr/bin:/bin", "MTLN_PYTHON": sys.executable, **VARIABLES, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "trained"),
    [
        (["nproc=1"], "configs/quickstart.yaml|run_dir=runs/quickstart"),
        (["--nproc", "1"], "configs/quickstart.yaml|run_dir=runs/quickstart"),
        (
            ["configs/quickstart.yaml", "nproc=1", "seed=2"],
            "configs/quickstart.yaml|seed=2|run_dir=",
        ),
    ],
)
def test_container_trains(
    container: Callable[..., Ended], arguments: list[str], trained: str
) -> None:
    ended = container(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1].startswith(trained)


def test_container_runs_commands(container: Callable[..., Ended]) -> None:
    ended = container("sh", "-c", 'echo "$0 is $$ of $PPID"; exit 7', "a b")
    assert ended.returncode == 7
    # In the place of the script, so that TERM reaches it.
    assert re.fullmatch(rf"a b is \d+ of {os.getpid()}\n", ended.stdout)


def test_container_ends_with_the_code_of_the_job(container: Callable[..., Ended]) -> None:
    assert container("nproc=1", CODE="9").returncode == 9


def stages() -> dict[str, list[str]]:
    """The instructions of every stage of the Dockerfile by its name, in order."""
    text = re.sub(r"\\\n|(?m:^#.*\n)", " ", (ROOT / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    for line in filter(None, (line.strip() for line in text.splitlines())):
        if line.startswith("FROM"):
            found[line.split(" AS ")[1]] = []
        if found:
            list(found.values())[-1].append(line)
    return found


def test_cpu_is_what_a_plain_build_makes() -> None:
    assert list(stages())[-1] == "cpu"
    assert {"gpu", "ascend"} < set(stages())


def test_the_bases_are_arguments_and_pinned() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = dict(re.findall(r"^ARG (\w+_IMAGE)=(.+)$", text, re.MULTILINE))
    assert bases.keys() == {"PYTHON_IMAGE", "CANN_IMAGE"}
    assert re.fullmatch(
        r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", bases["PYTHON_IMAGE"]
    )
    # No digest of it is on public record; the tag names version, chip, system and Python.
    assert re.fullmatch(r"quay\.io/ascend/cann:\d+\.\d+\.\d+-910b-\S+-py3\.11", bases["CANN_IMAGE"])
    used = {lines[0].split()[1] for lines in stages().values()}
    assert used <= {"scratch", *stages(), *(f"${{{name}}}" for name in bases)}


@pytest.mark.parametrize("target", ["cpu", "gpu", "ascend"])
def test_target(target: str) -> None:
    lines = stages()[target]
    whole = [*stages()["python"], *lines] if " python " in f"{lines[0]} " else lines
    # Numeric, since Kubernetes cannot tell otherwise that it is not root.
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000"]
    # The code comes after all that takes long: a change of it installs nothing again.
    code = whole.index("COPY --from=app /mtln /mtln")
    assert not any(line.startswith("RUN") for line in whole[code:])
    assert 'VOLUME ["/mtln/data", "/mtln/runs"]' in whole
    assert sum(line.startswith("HEALTHCHECK") for line in whole) == 1
    (entry,) = (json.loads(line[11:]) for line in whole if line.startswith("ENTRYPOINT"))
    assert entry == ["tini", "-s", "--", "bash", "/mtln/launch/entrypoint.sh"]


def test_context_has_all_that_the_image_needs_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    chosen = {rule[1:] for rule in rules if rule.startswith("!")}
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    copied = re.findall(r"^COPY (requirements.*) /mtln/$", (ROOT / "Dockerfile").read_text(), re.M)
    files = {file for line in copied for file in line.split()}
    assert files >= {"requirements.txt", "requirements-serve.txt"}
    assert chosen == {*packages, "configs", *files}


def test_the_server_is_nobody_in_particular_and_reached_from_outside() -> None:
    lines = stages()["serve"]
    assert [line for line in lines if line.startswith("USER")] == ["USER 1000"]
    (command,) = (json.loads(line[4:]) for line in lines if line.startswith("CMD"))
    assert command[:5] == ["python3", "-m", "tools", "serve", "/model"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert {'VOLUME ["/model"]', "EXPOSE 8000"} <= set(lines)


@pytest.fixture(scope="module")
def cuda_libraries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folders of the libraries in requirements-gpu.txt, with colons between them."""
    if not gpu.plugins():
        pytest.skip("MindSpore's GPU library is in the x86_64 wheel only")
    folder = tmp_path_factory.mktemp("cuda")
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
    ended = subprocess.run(
        [*command, "--requirement", str(ROOT / "requirements-gpu.txt")],
        capture_output=True,
        text=True,
    )
    if "Failed to establish a new connection" in ended.stderr:
        pytest.skip("no network: the package index cannot be reached")
    assert ended.returncode == 0, ended.stderr
    yield ":".join(map(str, folder.glob("nvidia/*/lib")))
    shutil.rmtree(folder)  # 2 GB, which pytest would keep


@pytest.mark.download
@pytest.mark.timeout(1800)
def test_mindspore_finds_all_of_cuda_but_the_driver(cuda_libraries: str, tmp_path: Path) -> None:
    plugin = gpu.plugins()["11.6"]
    assert "libcublas.so.11" in gpu.missing_libraries(plugin)
    assert gpu.missing_libraries(plugin, cuda_libraries) == ["libcuda.so.1"]
    # What MindSpore says itself, with the nvcc that the Dockerfile writes.
    (compiler,) = re.findall(r"printf ('#!/bin/sh[^']*')", (ROOT / "Dockerfile").read_text())
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    subprocess.run(f"printf {compiler} > {nvcc} && chmod 755 {nvcc}", shell=True, check=True)
    ended = subprocess.run(
        [sys.executable, "-c", "import mindspore; mindspore.set_device('GPU')"],
        env={**os.environ, "CUDA_HOME": str(tmp_path), "LD_LIBRARY_PATH": cuda_libraries},
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "libmindspore_gpu.so.11.6 failed. libcuda.so.1: cannot open" in ended.stderr
