"""Several launchers that together run one job, here all on this machine."""

import signal
import socket
import time
from collections.abc import Sequence

import pytest

from tests.launch.script_jobs import ScriptJob

Nodes = list[ScriptJob]

# A scheduler that ends with the ranks is not waited for.
SLEEP_ALONE = "pass"
SLEEP = "note(f'up{rank}'); time.sleep(600)\n"


def start(nodes: Nodes, port: int, worker: str, nprocs: Sequence[int], **options: object) -> None:
    for number, (node, nproc) in enumerate(zip(nodes, nprocs, strict=False)):
        place = {"nnodes": len(nprocs), "node_rank": number, "master": "127.0.0.1"}
        settings = {"scheduler": "import time; time.sleep(600)", "control_port": port, **options}
        node.start(worker, nproc=nproc, **place, **settings)


def test_ranks_are_numbered_over_all_nodes(nodes: Nodes, free_port: int) -> None:
    worker = """
    names = ("RANK_ID", "RANK_SIZE", "DEVICE_ID", "MS_NODE_ID", "MS_WORKER_NUM", "MS_SCHED_HOST")
    note(f"rank{rank}", " ".join(os.environ[name] for name in names))
    note(f"port{rank}", os.environ["MS_SCHED_PORT"])
    print("log", rank, file=sys.stderr)
    """
    start(nodes, free_port, worker, (2, 1, 3), scheduler="pass")
    results = [node.finish() for node in nodes]
    assert [(code, err) for code, _, err in results] == [(0, "")] * 3
    notes, run_dir = nodes[0].notes, nodes[0].run_dir
    devices = (0, 1, 0, 0, 1, 2)
    for rank, device in enumerate(devices):
        expected = f"{rank} 6 {device} {rank} 6 127.0.0.1"
        assert (notes / f"rank{rank}").read_text() == expected
        log = run_dir / "logs/attempt_0" / f"worker_{rank}.log"
        assert f"log {rank}" in log.read_text()
    assert len({(notes / f"port{rank}").read_text() for rank in range(6)}) == 1
    assert f"starting 6 ranks on 3 nodes, logs in {run_dir}/logs/attempt_0\n" in results[0][1]
    assert results[1][1].startswith("node 1: starting ranks 2 to 2 of 6")
    assert len(list((run_dir / "logs").iterdir())) == 1


def test_failure_on_one_node_ends_all_and_is_told_by_the_first(
    nodes: Nodes, free_port: int
) -> None:
    worker = """
    if rank == 2:
        while not all((notes / f"up{r}").exists() for r in (0, 1)): time.sleep(0.01)
        raise RuntimeError("it was me")
    """
    start(nodes, free_port, worker + SLEEP, (1, 1, 1))
    results = [node.finish() for node in nodes]
    assert [code for code, _, _ in results] == [1, 1, 1]
    assert "rank 2 failed first: exit code 1" in results[0][2]
    assert "RuntimeError: it was me" in results[0][2]
    nodes[0].assert_all_gone()


def test_all_nodes_start_again_together(nodes: Nodes, free_port: int) -> None:
    worker = """
    attempt = len(list(notes.glob(f"rank{rank}_*")))
    note(f"rank{rank}_{attempt}", os.environ["MS_SCHED_PORT"])
    if attempt == 0:
        if rank == 1:
            raise RuntimeError("once")
        time.sleep(600)
    """
    start(nodes, free_port, worker, (1, 1), max_restarts=1, scheduler="pass")
    results = [node.finish() for node in nodes[:2]]
    assert [code for code, _, _ in results] == [0, 0], results
    assert "starting again in 1 s (restart 1 of 1)" in results[0][2]
    ports = [(nodes[0].notes / f"rank{r}_{a}").read_text() for a in (0, 1) for r in (0, 1)]
    assert ports[0] == ports[1] != ports[2] == ports[3]
    assert len(list((nodes[0].run_dir / "logs").iterdir())) == 2


def test_signal_to_any_node_reaches_all(nodes: Nodes, free_port: int) -> None:
    for told in (0, 1):
        for note in nodes[0].notes.iterdir():
            note.unlink()
        worker = "signal.signal(signal.SIGTERM, lambda *_: (note(f'got{rank}'), sys.exit(0)))\n"
        start(nodes, free_port, worker + SLEEP, (1, 1))
        nodes[0].await_notes("up0", "up1")
        nodes[told].process.terminate()
        assert [node.finish()[0] for node in nodes[:2]] == [143, 143]
        assert all((nodes[0].notes / f"got{rank}").exists() for rank in (0, 1))
        nodes[0].assert_all_gone()
        nodes[1].assert_all_gone()


def test_request_to_any_node_reaches_all_and_ends_nothing(nodes: Nodes, free_port: int) -> None:
    worker = """
    def count(number, _):
        note(f"{number}_{rank}_{len(list(notes.glob(f'{number}_{rank}_*')))}")
    for number in (signal.SIGUSR1, signal.SIGQUIT): signal.signal(number, count)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGUSR1, signal.SIGQUIT))
    note(f"up{rank}")
    while not (notes / "done").exists(): time.sleep(0.01)
    """
    start(nodes, free_port, worker, (1, 1, 1), scheduler="pass")
    nodes[0].await_notes("up0", "up1", "up2")
    for again, (told, number) in enumerate([(0, signal.SIGUSR1), (1, signal.SIGUSR1)]):
        nodes[told].process.send_signal(number)
        nodes[0].await_notes(*(f"{int(number)}_{rank}_{again}" for rank in range(3)))
    nodes[2].process.send_signal(signal.SIGQUIT)
    nodes[0].await_notes(*(f"{int(signal.SIGQUIT)}_{rank}_0" for rank in range(3)))
    time.sleep(0.6)  # two looks of the launchers: what was handed on is not handed on again
    (nodes[0].notes / "done").touch()
    assert [node.finish()[0] for node in nodes] == [0, 0, 0]
    came = [path.name.rsplit("_", 1)[0] for path in nodes[0].notes.glob("[0-9]*_*_*")]
    twice, once = (f"{int(number)}_{{}}".format for number in (signal.SIGUSR1, signal.SIGQUIT))
    assert sorted(came) == sorted(x for r in range(3) for x in (twice(r), twice(r), once(r)))


@pytest.mark.slow
def test_hang_is_told_of_the_ranks_of_all_nodes(nodes: Nodes, free_port: int) -> None:
    worker = """
    Path(os.environ["MTLN_HEARTBEAT"]).write_text("40 consolidation 9")
    if rank == 1: os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)
    """
    start(nodes, free_port, worker, (1, 1), hang_timeout=2.0)
    (code, _, err), (code_1, _, _) = (node.finish() for node in nodes[:2])
    assert (code, code_1) == (124, 124)
    place = "in the consolidation after step 40"
    assert f"  rank 0: {place}, where it waits for rank 1\n" in err
    assert f"  rank 1: stopped (SIGSTOP), {place}\n" in err


def test_killed_launcher_takes_the_other_nodes_down(nodes: Nodes, free_port: int) -> None:
    for killed, message in ((1, "node 1 ("), (0, "node 0 (127.0.0.1) is gone")):
        for note in nodes[0].notes.iterdir():
            note.unlink()
        start(nodes, free_port, SLEEP, (1, 1), max_restarts=1)
        nodes[0].await_notes("up0", "up1")
        nodes[killed].process.kill()
        code, _, err = nodes[1 - killed].finish(seconds=30)
        assert code == 1
        assert message in err
        assert "is gone" in err and "starting again" not in err
        for node in nodes[:2]:
            node.assert_all_gone()


# Says where and among how many it runs, and goes on until it is told that all is done.
STARTED = """
note(f"{os.environ['RANK_SIZE']}_{rank}", os.getpid())
while not (notes / "done").exists(): time.sleep(0.01)
"""


def test_goes_on_with_the_nodes_that_are_left(nodes: Nodes, free_port: int) -> None:
    options = {"max_restarts": 3, "min_nodes": 2, "node_timeout": 5.0, "scheduler": SLEEP_ALONE}
    start(nodes, free_port, STARTED, (1, 1, 2), **options)
    nodes[0].await_notes(*(f"4_{rank}" for rank in range(4)))
    nodes[1].process.kill()
    nodes[0].await_notes(*(f"3_{rank}" for rank in range(3)))  # numbered again
    nodes[1].start(
        STARTED, nproc=1, nnodes=3, node_rank=1, master="127.0.0.1", control_port=free_port
    )
    _, _, err = nodes[1].finish()
    assert err.rstrip().endswith("comes too late: the job goes on without it")
    (nodes[0].notes / "done").touch()
    (code, out, err), (code_2, _, _) = nodes[0].finish(), nodes[2].finish()
    assert (code, code_2) == (0, 0), err
    assert "node 1 (" in err and "is gone: its launcher was killed" in err
    assert "node 1 did not come back within 5 s: going on with 2 of 3 nodes\n" in out
    assert "starting 3 ranks on 2 nodes" in out
    for node in nodes:
        node.assert_all_gone()


def test_waits_for_a_node_that_comes_back(nodes: Nodes, free_port: int) -> None:
    options = {"max_restarts": 1, "min_nodes": 1, "scheduler": SLEEP_ALONE}
    start(nodes, free_port, STARTED, (1, 1), **options)
    nodes[0].await_notes("2_0", "2_1")
    nodes[1].process.kill()
    nodes[1].assert_all_gone()
    for note in ("2_0", "2_1"):
        (nodes[0].notes / note).unlink()
    nodes[1].start(
        STARTED, nproc=1, nnodes=2, node_rank=1, master="127.0.0.1", control_port=free_port
    )
    nodes[0].await_notes("2_0", "2_1")
    (nodes[0].notes / "done").touch()
    assert [node.finish()[0] for node in nodes[:2]] == [0, 0]


def test_too_few_nodes_are_left(nodes: Nodes, free_port: int) -> None:
    options = {"max_restarts": 3, "min_nodes": 2, "node_timeout": 5.0}
    start(nodes, free_port, STARTED, (1, 1), **options)
    nodes[0].await_notes("2_0", "2_1")
    nodes[1].process.kill()
    code, _, err = nodes[0].finish()
    assert code == 1
    assert err.rstrip().endswith(
        "not started again: node 1 did not come back within 5 s, and --min-nodes is 2"
    )


@pytest.mark.slow
def test_node_that_never_comes(nodes: Nodes, free_port: int) -> None:
    options = {"nnodes": 3, "master": "127.0.0.1", "control_port": free_port, "node_timeout": 3.0}
    nodes[0].start(SLEEP, node_rank=0, **options)
    nodes[1].start(SLEEP, node_rank=1, **{**options, "node_timeout": 60.0})
    code, _, err = nodes[0].finish(seconds=30)
    # The driver of these tests prints no error lines: the mistake is its traceback's last line.
    assert "node 2 of 3 did not come within 3 s" in err.splitlines()[-1]
    assert nodes[1].finish(seconds=30)[0] == 2
    assert not (nodes[0].run_dir / "logs").exists()
    assert code != 0


def test_signal_to_a_node_while_another_is_awaited(nodes: Nodes, free_port: int) -> None:
    options = {"nnodes": 3, "master": "127.0.0.1", "control_port": free_port}
    for number in (0, 1):
        nodes[number].start(SLEEP, node_rank=number, **options)
    assert "2 of 3 nodes are here" in nodes[0].read_line()
    nodes[1].process.terminate()
    assert [node.finish()[0] for node in nodes[:2]] == [143, 143]


def test_nodes_that_do_not_fit(nodes: Nodes, free_port: int) -> None:
    common = {"nnodes": 3, "master": "127.0.0.1", "control_port": free_port}
    nodes[0].start(SLEEP, node_rank=0, **common)
    nodes[1].start(SLEEP, node_rank=1, **common)
    nodes[2].start(SLEEP, node_rank=1, **common)
    errors = [node.finish()[2] for node in nodes]
    text = "two nodes were started with --node-rank 1"
    assert text in errors[0]
    assert text in errors[1] + errors[2]


def test_first_node_is_never_reached(nodes: Nodes, free_port: int) -> None:
    options = {"nnodes": 2, "master": "127.0.0.1", "control_port": free_port, "node_timeout": 1.0}
    nodes[1].start(SLEEP, node_rank=1, **options)
    _, _, err = nodes[1].finish(seconds=30)
    assert f"could not reach node 0 at 127.0.0.1:{free_port} within 1 s" in err


@pytest.mark.slow
def test_another_job_answers_at_the_port(nodes: Nodes) -> None:
    """It takes the connection, and says nothing."""
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        options = {"nnodes": 2, "master": "127.0.0.1", "control_port": port, "node_rank": 1}
        nodes[1].start(SLEEP, grace=0.1, **options)
        connection, _ = server.accept()
        with connection:
            nodes[1].process.terminate()
            assert nodes[1].finish(seconds=60)[0] == 143


def test_meeting_port_in_use(nodes: Nodes) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        nodes[0].start(SLEEP, nnodes=2, node_rank=0, master="127.0.0.1", control_port=port)
        _, _, err = nodes[0].finish()
    assert f"cannot meet at port {port}" in err
    assert not (nodes[0].run_dir / "logs").exists()


def test_strangers_at_the_port_do_no_harm(nodes: Nodes, free_port: int) -> None:
    options = {"nnodes": 2, "master": "127.0.0.1", "control_port": free_port, "scheduler": "pass"}
    nodes[0].start("pass", nproc=1, node_rank=0, **options)
    for text in (
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"kind": "hello"}\n',
        b'{"kind": "nonsense"}\n',
        b"\0",
    ):
        while True:
            try:
                stranger = socket.create_connection(("127.0.0.1", free_port), timeout=5)
                break
            except OSError:
                assert nodes[0].process.poll() is None, nodes[0].finish()
        stranger.sendall(text)
    nodes[1].start("pass", nproc=1, node_rank=1, **options)
    assert [node.finish()[0] for node in nodes[:2]] == [0, 0]
