"""What ascend-check reads from a log and from what MindSpore prints."""

from pathlib import Path

from tests.ascend.stand_in.calls import Process, read_calls
from tools.ascend_check import result
from tools.ascend_check.result import Messages, Work


def process(folder: Path, *lines: str) -> Process:
    (folder / "log.1").write_text("\n".join(lines) + "\n")
    return read_calls(folder / "log")[0]


ONE_STEP = (
    "LAUNCH aclnn aclnnAdd float32[2]",
    "LAUNCH aclop Cast float32[2] float16[2]",
    "HCCL AllReduce float16 10 sum",
    "HCCL AllReduce float32 2 sum",
    "COPY async h2d 8",
    "SYNC stream",
)


def test_a_step_is_the_mean_of_those_between_the_marks(tmp_path: Path) -> None:
    before = ("LAUNCH aclnn aclnnMul", "SYNC device", "MARK step begin")
    after = ("MARK step end", "SYNC device", "LAUNCH aclnn aclnnLate", "MARK step drained")
    found = result.work_of_steps(process(tmp_path, *before, *ONE_STEP, *ONE_STEP, *after))
    assert found == Work(
        # What was launched behind the end belongs to it; the sync that waited for it does not.
        {"aclnn": {"aclnnAdd": 1, "aclnnLate": 0.5}, "aclop": {"Cast": 1}},
        casts=1,
        copies={"h2d async": 1},
        copied=8,
        syncs={"stream": 1},
        messages=Messages((("AllReduce", "float16", 10), ("AllReduce", "float32", 2))),
    )
    assert found.total == 2.5 and found.messages.bytes == 28


def test_a_graph_counts_as_one_launch_with_its_operators(tmp_path: Path) -> None:
    nodes = ("NODE 7 Cast float16[2]", "NODE 7 HcomAllReduce float32[3,2]", "NODE 8 Cast float16[]")
    steps = ("LAUNCH graph 7", "LAUNCH graph 7")
    marks = ("MARK step end", "MARK step drained")
    found = result.work_of_steps(process(tmp_path, *nodes, "MARK step begin", *steps, *marks))
    assert found is not None
    assert (found.total, found.nodes, found.casts) == (1, 2, 1)
    assert found.messages.operations == (("AllReduce", "float32", 6),)


def test_steps_that_came_to_no_end_are_unknown(tmp_path: Path) -> None:
    assert result.work_of_steps(process(tmp_path, "MARK step begin", *ONE_STEP)) is None


def test_operators_that_mindspore_refuses_are_named() -> None:
    output = """
convert.cc:4315] ConvertCNode] Cannot get adapter for Default/network-MTLN/SplitWithSizeView-op0
convert.cc:1196] GenerateCheckpointGraph] Unsupported op type list: SplitWithSizeView, Fancy
convert.cc:1188] GenerateCheckpointGraph] 2 Operator(s) cannot be converted:
"""
    assert result.refused_operators(output) == ("Fancy", "SplitWithSizeView")
