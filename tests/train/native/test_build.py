"""Building and loading the native operators, and a run of their tests under sanitizers."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.train.native_calls import LIBRARY_VARIABLE
from train.native import build, library
from train.native.library import NativeUnavailable


@pytest.fixture
def compiler() -> str:
    try:
        return build.compiler()
    except NativeUnavailable as reason:
        pytest.skip(f"native operators: {reason}")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sources of another library: one function; built into a folder of the test."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "one.cc").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setattr(library, "SOURCE", folder)
    monkeypatch.setattr(library, "folder", lambda: tmp_path / f"built-{library._digest()}")
    library._digest.cache_clear()
    yield folder
    library._digest.cache_clear()


def test_builds_once_and_anew_after_a_change(compiler: str, source: Path) -> None:
    first = build.build()
    assert {file.name for file in first.iterdir()} == {
        library.path_of(level).name for level in library.levels()
    }
    times = {file: file.stat().st_mtime_ns for file in first.iterdir()}
    assert build.build() == first
    assert {file: file.stat().st_mtime_ns for file in first.iterdir()} == times
    (source / "one.cc").write_text('extern "C" int one() { return 2; }\n')
    library._digest.cache_clear()
    assert build.build() != first


def test_a_failed_build_says_why_and_leaves_nothing(compiler: str, source: Path) -> None:
    (source / "one.cc").write_text("int one( { return 1; }\n")
    library._digest.cache_clear()
    with pytest.raises(NativeUnavailable, match=r"^g\+\+ failed: .*one\.cc:1:.*error"):
        build.build()
    assert not list(library.folder().iterdir())


def test_no_compiler(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(source))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NativeUnavailable, match="no C\\+\\+ compiler"):
        build.build()


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"MTLN_NATIVE": "0"}, "MTLN_NATIVE=0"),
        ({"CXX": "", "PATH": "/nowhere"}, "no C++ compiler"),
    ],
)
def test_the_command_says_in_one_line_why_not(
    change: dict[str, str], reason: str, tmp_path: Path
) -> None:
    """A copy of the package, since nothing is built there yet."""
    shutil.copytree(
        ROOT / "train", tmp_path / "train", ignore=shutil.ignore_patterns("built", "__pycache__")
    )
    run = subprocess.run(
        [sys.executable, "-m", "train.native"],
        cwd=tmp_path,
        env={**os.environ, **change},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1 and reason in run.stderr
    assert "MindSpore's own are used" in run.stderr


@pytest.mark.slow
def test_every_operator_under_sanitizers(compiler: str, tmp_path: Path) -> None:
    """The direct calls of all tests of operators, a few examples of each grid."""
    # What stands in front of a sanitised library has to be loaded before Python itself is.
    names = ["libasan.so", "libstdc++.so"]
    found = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in names
    ]
    if not all(Path(path).is_absolute() for path in found):
        pytest.skip(f"{compiler} has no {' or '.join(names)}")
    output = tmp_path / "sanitised.so"
    level = library.levels()[-1]  # the simplest
    flags = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    built = build.compile_to(compiler, output, level, flags)
    assert built.returncode == 0, built.stderr
    own = Path(__file__)
    tests = [str(file) for file in sorted(own.parent.glob("test_*.py")) if file != own]
    assert len(tests) >= 6
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"),
            *(
                "--durations=5",
                "--noconftest",
                f"--basetemp={tmp_path / 'tests'}",
                "-k",
                "not graph and not stock",
            ),
            *tests,
        ],
        cwd=ROOT,
        env={
            **os.environ,
            LIBRARY_VARIABLE: str(output),
            "LD_PRELOAD": " ".join(found),
            "ASAN_OPTIONS": "detect_leaks=0",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
        },
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "skipped" not in run.stdout.splitlines()[-1]
