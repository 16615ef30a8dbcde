from pathlib import Path

from tests.ascend.stand_in.calls import (
    Collective,
    Copy,
    Join,
    Launch,
    Mark,
    Node,
    Other,
    Sync,
    read_calls,
)

LOG = """\
CALL aclrtSetDevice 3
HCCL GetRootInfo
HCCL CommInit size=8 rank=3 device=3
MARK begin
LAUNCH aclnn aclnnAdd float32[2,3] float32[2,3]
LAUNCH graph 4
NODE 4 Conv2D float16[1,2]
COPY async d2h 24
COPY blocking h2d 8
MARK end
SYNC device
HCCL AllReduce float16 12 sum
HCCL Broadcast float32 5 root=0
MARK end
"""


def test_every_line_has_its_meaning(tmp_path: Path) -> None:
    (tmp_path / "log.17").write_text(LOG)
    (process,) = read_calls(tmp_path / "log")
    assert process.pid == 17
    assert process.calls == (
        Other("CALL", "aclrtSetDevice 3"),
        Other("HCCL", "GetRootInfo"),
        Join(size=8, rank=3, device=3),
        Mark("begin"),
        Launch("aclnn", "aclnnAdd", ("float32[2,3]", "float32[2,3]")),
        Launch("graph", "4"),
        Node(4, "Conv2D", "float16[1,2]"),
        Copy("d2h", 24, blocking=False),
        Copy("h2d", 8, blocking=True),
        Mark("end"),
        Sync("device"),
        Collective("AllReduce", "float16", 12, "sum"),
        Collective("Broadcast", "float32", 5, "root=0"),
        Mark("end"),
    )


def test_between_two_marks(tmp_path: Path) -> None:
    (tmp_path / "log.17").write_text(LOG)
    part = read_calls(tmp_path / "log")[0].between("begin", "end")
    assert [launch.operator for launch in part.of(Launch)] == ["aclnnAdd", "4"]
    assert not part.of(Sync)


def test_processes_come_by_number_and_other_files_do_not_count(tmp_path: Path) -> None:
    for name in ("log.120", "log.17", "log.txt", "log2.5", "log"):
        (tmp_path / name).write_text("SYNC device\n")
    assert [process.pid for process in read_calls(tmp_path / "log")] == [17, 120]
