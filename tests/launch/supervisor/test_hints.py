"""The table of known messages: every row finds its own message, and only that."""

import re

import pytest

from launch.supervisor.failure_report import Row, hints_for, table
from tests.launch.script_jobs import ScriptJob
from tests.paths import ROOT

BEGIN, END = "<!-- hints -->", "<!-- /hints -->"

# What MindSpore prints in any job, well or not.
CHATTER = """\
[WARNING] DISTRIBUTED(29,7f,python):2026-11-23-16:32:52.1 [mindspore/ccsrc/cluster/rpc/tcp/\
tcp_client.cc:76] Connect] Failed to connect to the tcp server : 127.0.0.1:23112, retry to \
reconnect(3/3)...
[WARNING] DISTRIBUTED(29,7f,python):2026-11-23-16:32:52.2 [mindspore/ccsrc/cluster/topology/\
compute_graph_node.cc:173] Register] Failed to connect to the meta server node url: 127.0.0.1:23112
[WARNING] DISTRIBUTED(29,7f,python):2026-11-23-16:32:52.3 [mindspore/ccsrc/cluster/topology/\
cluster_context.cc:326] BuildCluster] Topology build timed out., retry(1/200).
[WARNING] DISTRIBUTED(29,7f,python):2026-11-23-16:32:58.1 [mindspore/ccsrc/cluster/rpc/tcp/\
connection.cc:79] SocketEventHandler] Event value fd: 12, events: 8193, state: 4, errcode: 11, \
errno: 11 Resource temporarily unavailable, remote peer: 127.0.0.1:40124, type:1, remote: 1
step 20/600  loss fields 1.386  roofs 1.792  coast 1.608  355 images/s  1:52 left
Resuming from runs/quickstart/checkpoints/step_00000200
"""


@pytest.mark.parametrize("row", table(), ids=lambda row: row.id)
def test_a_sample_gives_its_own_hint(row: Row) -> None:
    assert hints_for(["before", row.sample, "after"]) == [row]


@pytest.mark.parametrize("row", table(), ids=lambda row: row.id)
def test_a_row_is_fit_to_use(row: Row) -> None:
    # An unbounded repeat can take a time that grows with the square of the line.
    unbounded = re.search(r"(?<!\\)[*+]|,\}", row.pattern.pattern)
    assert not unbounded, f"{row.id}: {row.pattern.pattern}"
    assert not row.pattern.search("")
    for text in (row.meaning, row.remedy):
        assert text == text.strip() and "\n" not in text and "|" not in text
        assert not text.endswith((".", ":")), text  # they become parts of one sentence


def test_ids_are_unique() -> None:
    ids = [row.id for row in table()]
    assert len(set(ids)) == len(ids)


def test_what_is_always_printed_gives_no_hint() -> None:
    assert hints_for(CHATTER.splitlines()) == []


@pytest.mark.parametrize(
    ("line", "row"),
    [
        # Other ways in which the same is said, by other versions or at other places.
        ("meta_server_node.cc:71] Initialize] Failed to create the TCP server.", "scheduler-port"),
        ("A timeout occurs when the Notify register waits for execution. Waiting peer", "EI0002"),
        ("[hccl_socket_manager.cc:778] wait socket establish timeout, role[1] rank[12]", "EI0006"),
        ("socket.gaierror: [Errno -2] Name or service not known", "host-name"),
        ("RuntimeError: Get hccl rank_table_file failed, please export", "not-launched"),
        ("Environment variables RANK_ID has not been exported, please", "not-launched"),
        ("Init plugin so failed, ret = 1343225860", "rank-table"),
        ("dcmi model initialized failed, because the device is used. ret is -8020", "dcmi"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        ("MemoryError", "memory"),
        ("RuntimeError: Allocate memory failed", "memory"),
        ("OSError: [Errno 12] Cannot allocate memory", "memory"),
        ("Fatal Python error: Bus error", "shared-memory"),
        ("Memory_Allocation_Failure(EL0004): Failed to allocate memory requested", "device-memory"),
        ("libmpi.so.40: cannot open shared object file: No such file", "libmpi"),
        ("SDMA memory copy task exception occurred. (EI0012)", "link"),
    ],
)
def test_the_same_in_other_words(line: str, row: str) -> None:
    assert [hint.id for hint in hints_for([line])] == [row]


def test_in_order_of_appearance_each_once_and_no_more_than_three() -> None:
    by_id = {row.id: row.sample for row in table()}
    names = ["EI0006", "disk", "EI0006", "scheduler-port", "memory"]
    found = hints_for(by_id[name] for name in names)
    assert [hint.id for hint in found] == ["EI0006", "disk", "scheduler-port"]


def test_a_code_within_a_longer_word_is_none() -> None:
    assert hints_for(["commit 9fEI00021c", "XEI0002", "EI00020"]) == []


def test_the_report_of_a_job_gives_the_hint(job: ScriptJob) -> None:
    code, _, err = job.start(
        """
        if rank == 1:
            with open("/dev/full", "w") as disk: disk.write("x")
        time.sleep(600)
        """
    ).finish()
    assert code == 1
    assert "OSError: [Errno 28] No space left on device" in err
    assert "hint: the disk is full" in err


def test_the_documentation_shows_this_table() -> None:
    text = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
    shown = text.partition(BEGIN)[2].partition(END)[0].strip()
    assert shown == markdown_table(), f"put this between {BEGIN} and {END}:\n{markdown_table()}"


def markdown_table() -> str:
    lines = ["| message | what it means | what to do |", "|---|---|---|"]
    for row in table():
        found = row.pattern.search(row.sample)
        assert found is not None, row.id
        lines.append(f"| `{found.group()}` | {row.meaning} | {row.remedy} |")
    return "\n".join(lines)
