"""The drill on this machine, and bugs that it must find."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from launch.supervisor.failure_report import hints_for
from tests.paths import ROOT
from tools.__main__ import main
from tools.drill import traces
from tools.drill.chains import Chain, plan, run_chain
from tools.drill.kinds import KINDS
from tools.drill.results import PART, Document
from tools.drill.site import Site, prepare

pytestmark = pytest.mark.cluster

PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "docs" / "runs" / "drill.json"


@pytest.mark.slow
@pytest.mark.timeout(1800)  # some 20 real runs
def test_faults_are_survived(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Of 9 kinds, of every place; what cannot be tried on this machine counts as a failure."""
    folder, out = tmp_path / "work", tmp_path / "out"
    options = ["--faults", "9", "--seed", "5", "--require-all", "--folder", str(folder)]
    options += ["--out", str(out)]
    code = main(["drill", *options])
    printed = capfd.readouterr()
    assert code == 0, printed.err
    assert not folder.exists()
    tree = json.loads((out / "drill.json").read_text())
    tried = Counter(one["kind"] for one in tree["faults"])
    assert tried.total() == len(tried) == 9
    assert {KINDS[kind].where for kind in tried} == {kind.where for kind in KINDS.values()}
    assert Document.read(out / "drill.json").markdown() in (out / "drill.md").read_text()
    assert max(map(len, printed.out.splitlines())) <= 100


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return prepare(tmp_path_factory.mktemp("site"), nproc=2)


# Imported by every process of a job before anything else.
_PLANT = """
from tools.drill.hooks import after_import
after_import({{{module!r}: lambda module: exec({bug!r}, vars(module))}})
"""


@pytest.mark.slow
def test_logs_of_a_good_run_give_no_hints(site: Site) -> None:
    logs = list(site.reference.glob("logs/*/*.log"))
    assert len(logs) == 3
    for log in logs:
        assert hints_for(log.read_text(errors="replace").splitlines()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "module", "bug", "found"),
    [
        (
            "flip-parameter",
            "train.step.replicas",
            "ReplicaCheck.require_equal = lambda self, *_: None",
            "exit code 0 instead of 1",
        ),
        (
            "checkpoint-flip",
            "train.run.checkpoint",
            "def _read_whole(path):\n"
            "    if not (path / STATE).exists():\n"
            "        raise ValueError(path)\n"
            "    state = json.loads((path / STATE).read_text())\n"
            "    return state, {name: (path / name).read_bytes() for name in state['files']}",
            "it does not say 'step_",
        ),
        (
            "kill-step",
            "launch.supervisor.child_process",
            "_libc = type('', (), {'prctl': staticmethod(lambda *_: 0)})",
            "still running after the end of the job",
        ),
    ],
)
def test_finds_what_is_planted(
    site: Site,
    kind: str,
    module: str,
    bug: str,
    found: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(_PLANT.format(module=module, bug=bug))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(traces, "_GONE_WITHIN", 3.0)
    # Of what is left to chance, the launcher is hit: the first of those that can be killed.
    seed = next(n for n in range(99) if Random(f"{n} 1").choice(range(4)) == 0)
    tried = run_chain(site, Chain(f"planted-{kind}", str(seed), [KINDS[kind]]), print)
    assert found in str(tried[0].problem)


def test_every_kind_comes_once_before_one_comes_twice() -> None:
    for faults in (5, len(KINDS), 200):
        chains = plan(KINDS, faults, seed=3)
        counts = Counter(kind.key for chain in chains for kind in chain.kinds)
        assert counts.total() == faults
        assert len(counts) == min(faults, len(KINDS))
        assert [chain.kinds for chain in plan(KINDS, faults, seed=3)] == [c.kinds for c in chains]
        for chain in chains:
            assert len({kind.where for kind in chain.kinds}) == 1
            assert not any(kind.is_last for kind in chain.kinds[:-1])


def test_what_is_not_tried_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """In the table, and as a failure where all is required."""
    fault = {"kind": "clock", "chain": "folder-0", "detail": "", "problem": None, "seconds": 1.5}
    document = Document(
        "tools drill", [fault], {"disk-full": "no mount", "disk-read-only": "no mount"}
    )
    rows = {line.split("  ")[1]: line for line in document.table().splitlines()[1:-1]}
    assert "not tried" in rows["full disk"]
    assert "not tried: disk-full, disk-read-only: no mount" in document.table()
    assert document.problems == []


def test_table_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(PART.begin) == page.count(PART.end) == 1
    document = Document.read(RESULTS)
    assert PART.block(document.markdown()) in page
    assert len(document.faults) >= 200
    assert document.problems == []
