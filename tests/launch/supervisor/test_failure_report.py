"""Finding the part of a log that says why."""

from pathlib import Path

import pytest

from launch.plan.processes import Process
from launch.supervisor.failure_report import (
    Cause,
    Failure,
    exit_code,
    explain,
    how,
    last_traceback,
    report,
    useful_tail,
    user_error,
)

FIRST = ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: first"]
CHAIN = "The above exception was the direct cause of the following exception:"
SECOND = ["Traceback (most recent call last):", '  File "b.py", line 2', "OSError: second"]
NOISE = "[WARNING] ME(12:139,MainProcess):2026-11-23-02:08:35 chatter"


def failure(returncode: int, message: str | None = None) -> Failure:
    process = Process(3, 0, "here", "cpu", ("python",), {})
    return Failure(process, returncode, 1.0, message)


def test_last_traceback_without_what_precedes_it() -> None:
    assert last_traceback(["start", *FIRST, "went on", *SECOND]) == SECOND


def test_chained_tracebacks_stay_together() -> None:
    lines = [*SECOND, "between", *FIRST, "", CHAIN, "", *SECOND]
    assert last_traceback(lines) == [*FIRST, "", CHAIN, "", *SECOND]


def test_traceback_without_chatter_and_framework_part() -> None:
    rule = "-" * 30
    framework = ["", rule, "- C++ Call Stack: (For framework developers)", rule, "abc.cc:12"]
    assert last_traceback([*FIRST, NOISE, "more of the message", *framework]) == [
        *FIRST,
        "more of the message",
    ]


def test_a_chain_is_announced_just_before_its_next_part() -> None:
    apart = [*FIRST, CHAIN, "and then", "a long time", "passed", *SECOND]
    assert last_traceback(apart) == SECOND
    three = [*FIRST, "", CHAIN, "", *SECOND, "", CHAIN, "", *FIRST]
    assert last_traceback(three) == three and last_traceback([NOISE, *three]) == three


def test_no_traceback() -> None:
    assert last_traceback(["a", "b"]) == []


def test_a_traceback_of_which_nothing_is_ours() -> None:
    assert last_traceback([*FIRST, "-" * 30, "", "- - "]) == FIRST
    endless = [*FIRST, *map(str, range(500))]
    assert last_traceback(endless) == endless[:100]


def test_useful_tail() -> None:
    lines = [str(number) for number in range(100)] + ["", NOISE, "[ERROR] ME(1:2,x): bad"]
    assert useful_tail(lines) == [*map(str, range(76, 100)), "[ERROR] ME(1:2,x): bad"]
    assert useful_tail([NOISE]) == [NOISE]


def test_only_code_2_can_be_a_mistake_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").write_text("error: old\nnoise\nerror: first\nerror: last\nnoise\n")
    assert user_error(failure(2), tmp_path) == "error: first\nerror: last"
    assert user_error(failure(1), tmp_path) is None
    assert user_error(failure(-2), tmp_path) is None
    line = "error: first\nerror: last"
    assert explain(failure(2), tmp_path, 7) == Cause(line, 2, line, 7, is_final=True)
    (tmp_path / "worker_3.log").write_text("usage: ...\n")
    assert user_error(failure(2), tmp_path) is None


@pytest.mark.parametrize(
    ("returncode", "message", "told", "code"),
    [
        (1, "ValueError: x", "ValueError: x", 1),
        (3, None, "exit code 3", 3),
        (-9, None, "killed by SIGKILL (out of memory?)", 137),
        (-6, "lost", "lost", 134),
    ],
)
def test_a_failure_is_told_from_others_by_its_message(
    tmp_path: Path, returncode: int, message: str | None, told: str, code: int
) -> None:
    (tmp_path / "worker_3.log").write_text("all is well\n")
    cause = explain(failure(returncode, message), tmp_path, None)
    assert (cause.error, cause.exit_code, cause.step, cause.is_final) == (told, code, None, False)
    assert cause.text == report(failure(returncode, message), tmp_path)


@pytest.mark.parametrize(
    ("returncode", "words"),
    [
        (0, "exit code 0"),
        (5, "exit code 5"),
        (-1, "killed by SIGHUP"),
        (-9, "killed by SIGKILL (out of memory?)"),
        (-11, "killed by SIGSEGV"),
        (-99, "killed by signal 99"),
    ],
)
def test_how_a_process_ended(returncode: int, words: str) -> None:
    assert how(returncode) == words


def test_the_whole_report(tmp_path: Path) -> None:
    """A traceback, also where much follows; otherwise the last lines. Then what is known of it."""
    log = tmp_path / "worker_3.log"
    full = "OSError: [Errno 28] No space left on device"
    head, quoted = "rank 3 failed first: exit code 1 after 1 s", [f"  {line}" for line in FIRST[:2]]
    rule = "-" * 30
    framework = [rule, "- C++ Call Stack: (For framework developers)", rule, *["abc.cc:12"] * 60]
    log.write_text("\n".join([*FIRST[:2], full, *framework]))
    *lines, hint, place = report(failure(1), tmp_path).splitlines()
    assert lines == [head, *quoted, f"  {full}"]
    assert hint.startswith("hint: the disk is full") and place == f"log: {log}"
    log.write_text("\n".join([*map(str, range(100)), "", NOISE]))
    told = report(failure(1), tmp_path).splitlines()
    assert told == [head, *(f"  {number}" for number in range(75, 100)), f"log: {log}"]
    log.write_text("")
    told = report(failure(1, "OSError: it said so"), tmp_path).splitlines()
    assert told == [head, "  OSError: it said so", f"log: {log}"]


def test_what_is_too_far_back_in_a_log_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").write_text("\n".join([*FIRST, "a line\n" * 50_000]))
    assert "ValueError" not in report(failure(1), tmp_path)


def test_old_traceback_does_not_explain_a_signal(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").write_text("\n".join([*FIRST, *["step"] * 30]))
    text = report(failure(-11), tmp_path)
    assert "rank 3 failed first: killed by SIGSEGV" in text
    assert "ValueError" not in text


def test_huge_and_binary_log(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").write_bytes(
        b"\xff\xfe line\n" * 100_000 + "\n".join(FIRST).encode()
    )
    assert "ValueError: first" in report(failure(1), tmp_path)


def test_empty_log(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").touch()
    assert "its log is empty" in report(failure(1), tmp_path)


@pytest.mark.parametrize(
    ("returncode", "expected"), [(1, 1), (125, 125), (126, 1), (255, 1), (-9, 137), (-15, 143)]
)
def test_exit_code(returncode: int, expected: int) -> None:
    assert exit_code(failure(returncode)) == expected
