import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ascend import stand_in
from tests.ascend.stand_in import StandIn, wheel
from tests.ascend.stand_in.calls import Collective, Copy, Join, Launch, read_calls

HERE = Path(__file__).parent


def test_an_operator_is_launched_with_its_tensors_in_order_and_gives_ones_of_its_type(
    built: StandIn, on_stand_in: dict[str, str], tmp_path: Path
) -> None:
    """The results of aclnn calls come after any number of arguments, in registers or not."""
    program = tmp_path / "caller"
    library = built.library.parent
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lascendcl"]
    subprocess.run(["gcc", str(HERE / "caller.c"), "-o", str(program), *link], check=True)
    ended = subprocess.run(
        [str(program)], env=on_stand_in, capture_output=True, text=True, check=True
    )
    # What was copied there first, then the result of the operator, which needs no workspace.
    assert ended.stdout == "7 7 1 1 0\n"
    process = read_calls(tmp_path / "log")[0]
    tensors = ("float32[3]", "float32[3]", "int32[2]")
    assert process.of(Launch) == [Launch("aclnn", "aclnnConvolution", tensors)] * 2
    assert process.of(Copy)[0] == Copy("h2d", 8, blocking=True)


_RANK = """
import ctypes, sys
from pathlib import Path
import numpy as np
library, root = ctypes.CDLL(sys.argv[1]), sys.argv[4]
rank, size = map(int, sys.argv[2:4])
info = ctypes.create_string_buffer(root.encode(), 4108)
communicator = ctypes.c_void_p()
assert library.HcclCommInitRootInfo(size, info, rank, ctypes.byref(communicator)) == 0
FLOAT32, SUM, COUNT = 4, 0, 200_000
own = np.arange(COUNT, dtype=np.float32) + rank
total = np.empty_like(own)
pointers = [ctypes.c_void_p(a.ctypes.data) for a in (own, total)]
count = ctypes.c_uint64(COUNT)
assert library.HcclAllReduce(*pointers, count, FLOAT32, SUM, communicator, None) == 0
assert (total == size * np.arange(COUNT) + sum(range(size))).all()
assert library.HcclBroadcast(pointers[0], count, FLOAT32, 1, communicator, None) == 0
assert (own == np.arange(COUNT) + 1).all()
"""


def test_ranks_really_exchange_numbers(
    built: StandIn, on_stand_in: dict[str, str], tmp_path: Path
) -> None:
    name = f"/stand_in_test_{os.getpid()}"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _RANK, str(built.library), str(rank), "3", name],
            env=on_stand_in,
        )
        for rank in range(3)
    ]
    assert [rank.wait(60) for rank in ranks] == [0, 0, 0]
    assert not Path(f"/dev/shm{name}").exists()
    for process in read_calls(tmp_path / "log"):
        assert process.of(Join)[0].size == 3
        assert process.of(Collective) == [
            Collective("AllReduce", "float32", 200_000, "sum"),
            Collective("Broadcast", "float32", 200_000, "root=1"),
        ]


def test_a_rank_whose_peer_does_not_come_is_told_so(
    built: StandIn, on_stand_in: dict[str, str]
) -> None:
    words = [sys.executable, "-c", _RANK, str(built.library), "0", "2", f"/stand_in_{os.getpid()}"]
    environment = {**on_stand_in, "HCCL_CONNECT_TIMEOUT": "1"}
    ended = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1 and "AssertionError" in ended.stderr


@pytest.mark.slow
def test_everything_the_plugin_asks_for_is_there(built: StandIn) -> None:
    libraries = wheel.folder()
    assert libraries is not None
    wanted = wheel.wanted(libraries)
    operators = wheel.operators(wanted)
    assert len(operators) > 100
    have = wheel.defined([built.library])
    assert wanted <= have
    assert {
        f"{name}GetWorkspaceSize" for name in operators - {"aclnnInit", "aclnnFinalize"}
    } <= have


@pytest.mark.slow
def test_two_builders_at_a_time_get_one_stand_in(built: StandIn, tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from tests.ascend import stand_in; "
    program += "print(stand_in.build(Path(sys.argv[1])).folder)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1])
        for _ in range(2)
    ]
    folders = {process.communicate()[0].strip() for process in started}
    assert len(folders) == 1
    assert [path.name for path in tmp_path.iterdir()] == [Path(folders.pop()).parent.name]


def test_elsewhere_it_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert stand_in.problem() == "the stand-in for CANN is for x86_64, not aarch64"
    with pytest.raises(RuntimeError, match="not aarch64"):
        stand_in.build()
