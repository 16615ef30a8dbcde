"""Graphs from disk are those that would have been compiled."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from mindspore import Tensor, nn
from safetensors.numpy import load_file

from tests.paths import ROOT
from train import build
from train.config.schema import Config
from train.config.sections import Precision
from train.distributed import mindspore_engine, mpi_engine, shared_memory
from train.distributed.cluster import Cluster
from train.distributed.collectives import OneProcess
from train.step import graph_cache
from train.step.graph_cache import GraphCache, _is_safe, _Store

pytestmark = pytest.mark.slow

CONTENT = b"a graph"
OTHER_USER = pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user too")
KEY, *KEYS = (digit * 32 for digit in "abcd")


@pytest.fixture(scope="module")
def config(one_task_tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two image sizes and an evaluation: three graphs."""
    tree = {
        **one_task_tree,
        "schedule": {"steps": 4, "consolidate_every": 2},
        "image": {"size": 16, "stages": [{"until": 0.5, "size": 12}]},
        "checkpoint": {"every": 2, "keep": 9},
    }
    path = tmp_path_factory.mktemp("graphs") / "graphs.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def train(config: Path, run_dir: Path, *overrides: str) -> dict[str, bytes]:
    """Trains, with graphs kept beside the configuration; the bytes of the final model."""
    subprocess.run(
        [sys.executable, "-m", "train", str(config), f"run_dir={run_dir}", *overrides],
        cwd=ROOT,
        env={**os.environ, graph_cache.VARIABLE: str(config.parent / "graphs")},
        capture_output=True,
        check=True,
    )
    model = load_file(run_dir / "checkpoints/step_00000004/model.safetensors")
    return {key: value.tobytes() for key, value in model.items()}


def kept(config: Path) -> dict[str, Path]:
    return {path.name.partition("-")[0]: path for path in (config.parent / "graphs").glob("*-*")}


@pytest.fixture(scope="module")
def first(config: Path) -> dict[str, bytes]:
    return train(config, config.parent / "first")


OTHER = "loss.label_smoothing=0.5"


@pytest.fixture(scope="module")
def other(config: Path, first: dict[str, bytes]) -> dict[str, bytes]:
    """The same with another setting, while the graphs of the first run are there."""
    return train(config, config.parent / "other", OTHER)


def test_a_run_that_begins_with_another_graph_gets_its_own(
    config: Path, first: dict[str, bytes]
) -> None:
    graphs = kept(config)
    assert len(graphs) == 3
    resumed = config.parent / "resumed"
    shutil.copytree(config.parent / "first", resumed)
    (resumed / "summary.json").unlink()
    shutil.rmtree(resumed / "checkpoints/step_00000004")
    before = {key: path.stat().st_mtime_ns for key, path in graphs.items()}
    assert train(config, resumed) == first
    assert kept(config) == graphs
    read = [key for key, path in graphs.items() if path.stat().st_mtime_ns > before[key]]
    assert len(read) == 2  # the second size, and the evaluation


def test_another_setting_has_graphs_of_its_own(
    config: Path, first: dict[str, bytes], other: dict[str, bytes]
) -> None:
    assert other != first
    assert len(kept(config)) == 6


def test_what_is_kept_is_what_runs(
    config: Path, first: dict[str, bytes], other: dict[str, bytes], tmp_path: Path
) -> None:
    """The graphs of one run under the keys of another one: MindSpore does read them."""
    by_size: dict[int, list[str]] = {}
    for key, path in kept(config).items():
        by_size.setdefault(path.stat().st_size, []).append(key)
    (tmp_path / "graphs").mkdir()
    shutil.copy2(config.parent / "graphs/secret", tmp_path / "graphs")
    store = _Store(tmp_path / "graphs")
    for mine, theirs in by_size.values():  # the same graph of both runs
        store.write(mine, kept(config)[theirs].read_bytes())
        store.write(theirs, kept(config)[mine].read_bytes())
    swapped = tmp_path / "swapped.yaml"
    shutil.copy(config, swapped)
    assert train(swapped, tmp_path / "run", OTHER) == first


def test_a_damaged_graph_is_none(tmp_path: Path) -> None:
    store = _Store(tmp_path)
    store.write("key", CONTENT)
    assert store.read("key") == CONTENT
    (path,) = tmp_path.glob("*-*")
    path.write_bytes(CONTENT[:-1])
    assert store.read("key") is None
    assert not path.exists()


# What another user does to graphs in a folder that all can write to. They know how graphs are named
# and signed, but cannot read the secret.
_ATTACK = """
import os, shutil, sys
from pathlib import Path
from train.step.graph_cache import _Store, _signed
folder, way = Path(sys.argv[1]), sys.argv[2]
os.setgid(65534)
os.setuid(65534)
secret = bytes(32)
if way == "own secret":
    (folder / "secret").unlink(missing_ok=True)
    os.umask(0o077)
    (folder / "secret").write_bytes(secret)
elif way == "link":
    (folder / "secret").unlink(missing_ok=True)
    (folder / "secret").symlink_to(folder / "known")
else:
    try:
        secret = (folder / "secret").read_bytes()
    except PermissionError:
        pass
(folder / _signed("key", b"planted", secret)).write_bytes(b"planted")
"""


@OTHER_USER
@pytest.mark.parametrize("way", ["signed with a guess", "own secret", "link"])
def test_graphs_planted_by_another_user_are_none(way: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place) / "graphs"
        store = _Store(folder)
        store.write("other", CONTENT)
        folder.chmod(0o777)
        known = folder / "known"  # of this user, with bytes that the attacker knows
        known.write_bytes(bytes(32))
        known.chmod(0o600)
        attack = [sys.executable, "-c", _ATTACK, str(folder), way]
        subprocess.run(attack, cwd=ROOT, check=True)
        (planted,) = folder.glob("key-*")
        assert store.read("key") is None
        assert not planted.exists()
        store.write("key", CONTENT)  # with a new secret where the old one is spoilt
        assert store.read("key") == CONTENT


def test_a_folder_for_mindspore_that_someone_else_has_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("MS_COMPILER_CACHE_PATH", raising=False)
    compiler = graph_cache._Compiler()
    with compiler.next_graph(0) as file:
        assert file is not None
        folder = Path(os.environ["MS_COMPILER_CACHE_PATH"])
        assert folder.parent.parent == tmp_path
        assert {stat.S_IMODE(f.stat().st_mode) for f in (folder, folder.parent)} == {0o700}
    assert not folder.exists()
    planted = folder / file.relative_to(folder)
    planted.parent.mkdir(parents=True)
    planted.write_bytes(b"planted")
    with compiler.next_graph(0) as file:
        assert file is None
        assert "MS_COMPILER_CACHE_ENABLE" not in os.environ
    assert planted.exists()


@pytest.mark.parametrize(
    ("mode", "owner", "safe"),
    [
        (0o755, None, True),
        (0o777, None, False),
        (0o775, None, False),
        (0o1777, None, True),
        (0o1775, None, True),
        pytest.param(0o755, 65534, False, marks=OTHER_USER),
        pytest.param(0o1777, 65534, False, marks=OTHER_USER),
    ],
)
@pytest.mark.parametrize("depth", [0, 1], ids=["the folder itself", "a folder above it"])
def test_where_others_can_rename_there_is_no_cache(
    mode: int, owner: int | None, safe: bool, depth: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        changed = Path(place) / "above"
        folder = changed if depth == 0 else changed / "below"
        folder.mkdir(parents=True)
        link = Path(place) / "link"
        link.symlink_to(folder)
        changed.chmod(mode)
        if owner is not None:
            os.chown(changed, owner, owner)
        assert _is_safe(folder) == _is_safe(link) == safe


def test_an_unsafe_place_for_temporary_files_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o777)
    with graph_cache._Compiler().next_graph(0) as file:
        assert file is None
        assert "MS_COMPILER_CACHE_ENABLE" not in os.environ


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "large"])
def test_what_is_no_plain_file_is_no_graph(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a pipe would wait for ever."""
    monkeypatch.setattr(graph_cache, "_MOST_BYTES", 100)
    store = _Store(tmp_path)
    store.write(KEY, CONTENT if kind != "large" else bytes(101))
    [path] = tmp_path.glob("*-*")
    if kind != "large":
        path.rename(tmp_path / "good")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("good")
    elif kind == "folder":
        path.mkdir()
    assert store.read(KEY) is None


def test_other_files_in_a_folder_that_the_user_has_named_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_cache, "_MOST_GRAPHS", 1)
    mine = tmp_path / "my-thesis.pdf"
    mine.touch()
    for key in KEYS:
        _Store(tmp_path).write(key, CONTENT)
    assert mine.exists() and len(list(tmp_path.glob("*-*"))) == 2


def test_without_room_for_temporary_files_graphs_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder for them at all, and one in which nothing can be written."""
    store = tmp_path / "graphs"
    cache = GraphCache(store, {}, 0)
    monkeypatch.setattr(graph_cache, "_compiler", graph_cache._Compiler())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with cache.compiling("step"):
        assert "MS_COMPILER_CACHE_ENABLE" not in os.environ
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full = tmp_path / "full"
    full.write_bytes(b"")
    graph_cache._put(full / "graph", CONTENT)
    assert graph_cache._compiler.made(full / "graph", True) is None


def test_the_oldest_graphs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_cache, "_MOST_GRAPHS", 2)
    store = _Store(tmp_path)
    for i, key in enumerate(KEYS):
        store.write(key, CONTENT)
        (path,) = tmp_path.glob(f"{key}-*")
        os.utime(path, (i, i))
        if i == 1:
            store.read(KEYS[0])  # used just now
    assert [store.read(key) for key in KEYS] == [CONTENT, None, CONTENT]


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = _Store(tmp_path / "file" / "graphs")
    store.write("key", CONTENT)
    assert store.read("key") is None


def test_where_graphs_are_kept() -> None:
    variables = {"MS_JIT": "O1", "MS_ROLE": "MS_WORKER", "PATH": "/bin"}
    folder_of = graph_cache.folder_of
    assert folder_of({**variables, "XDG_CACHE_HOME": "/c"}) == Path("/c/mtln/graphs")
    assert folder_of({**variables, graph_cache.VARIABLE: "/g"}) == Path("/g")
    assert folder_of({**variables, graph_cache.VARIABLE: "0"}) is None
    assert folder_of({**variables, "MS_COMPILER_CACHE_ENABLE": "1"}) is None  # the user's own
    assert graph_cache.settings_of(variables) == {"MS_JIT": "O1"}


class Reducing(OneProcess):
    """Ranks that reduce by a cell of some class."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind

    def all_reduce_cell(self, precision: Precision = "float32") -> nn.Cell:
        cell: nn.Cell = self.kind.__new__(self.kind)
        return cell


def test_graphs_know_how_their_ranks_reduce(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On one machine through shared memory, on two by messages, with the same settings."""
    monkeypatch.setenv(graph_cache.VARIABLE, str(tmp_path))
    names = {"datasets": {"a": {"records": "a"}}, "tasks": {"a": {}}, "schedule": {"steps": 1}}
    config = Config.model_validate({**names, "run_dir": "none", "device": "CPU"})
    place = Cluster(0, 2, "CPU")
    kinds = (shared_memory.AllReduce, mindspore_engine.AllReduce, mpi_engine.PythonAllReduce)
    caches = [build.build_graph_cache(config, place, Reducing(kind), []) for kind in kinds]
    one, two, _ = (cache._identity for cache in caches)
    assert one != two
    assert [cache._store is None for cache in caches] == [False, False, True]  # a Python function


def test_without_a_folder_nothing_is_kept() -> None:
    with GraphCache(None, {}, 0).compiling("step"):
        assert "MS_COMPILER_CACHE_ENABLE" not in os.environ


class AddOne(nn.Cell):
    """A network whose graph can be kept."""

    def construct(self, x: Tensor) -> Tensor:
        return x + 1


def test_keeping_a_graph_leaves_python_as_it_is(
    graph_mode: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MindSpore would make the modules anew that the main script imports: ``sys``, too."""
    script = tmp_path / "script.py"
    script.write_text("import sys")
    monkeypatch.setattr("mindspore.graph.api.entry_script_path", str(script))
    before = sys.stdout, sys.stderr, sys.argv
    for _ in range(2):
        with GraphCache(tmp_path / "graphs", {}, 0).compiling("step"):
            assert AddOne()(Tensor([1.0])).asnumpy() == [2.0]
        assert (sys.stdout, sys.stderr, sys.argv) == before
    assert len(list((tmp_path / "graphs").glob("*-*"))) == 1


class Refused(nn.Cell):
    """No network: it cannot be compiled."""

    def construct(self, x: Tensor) -> Tensor:
        return x.nothing_of_this_name()


def test_graphs_are_kept_whatever_became_of_those_before(graph_mode: None, tmp_path: Path) -> None:
    """MindSpore counts what it failed to compile, and not what nobody has compiled."""
    cache = GraphCache(tmp_path, {}, 0)
    with cache.compiling("nothing"):
        pass
    for name in ("first", "second", "second"):
        with contextlib.suppress(AttributeError), cache.compiling("refused"):
            Refused()(Tensor([1.0]))
        with cache.compiling(name):
            assert AddOne()(Tensor([1.0])).asnumpy() == [2.0]
    assert len(list(tmp_path.glob("*-*"))) == 2


def test_a_program_without_a_script_keeps_graphs(config: Path, tmp_path: Path) -> None:
    """``python -c``, an interpreter, a notebook."""
    code = "import sys; from train.__main__ import main; sys.exit(main(sys.argv[1:]))"
    graphs = tmp_path / "graphs"
    ended = subprocess.run(
        [sys.executable, "-c", code, config, f"run_dir={tmp_path / 'run'}", "schedule.steps=2"],
        cwd=ROOT,
        env={**os.environ, graph_cache.VARIABLE: str(graphs)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert list(graphs.glob("*-*"))
