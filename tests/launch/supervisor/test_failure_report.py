"""Finding the part of a log that says why."""

from pathlib import Path

import pytest

from launch.plan.processes import Process
from launch.supervisor.failure_report import (
    Failure,
    exit_code,
    last_traceback,
    report,
    useful_tail,
    user_error,
)

FIRST = ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: first"]
CHAIN = "The above exception was the direct cause of the following exception:"
SECOND = ["Traceback (most recent call last):", '  File "b.py", line 2', "OSError: second"]
NOISE = "[WARNING] ME(12:139,MainProcess):2026-11-23-02:08:35 chatter"


def failure(returncode: int) -> Failure:
    process = Process(3, 0, "here", "cpu", ("python",), {})
    return Failure(process, returncode, 1.0)


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


def test_no_traceback() -> None:
    assert last_traceback(["a", "b"]) == []


def test_useful_tail() -> None:
    lines = [str(number) for number in range(100)] + ["", NOISE, "[ERROR] ME(1:2,x): bad"]
    assert useful_tail(lines) == [*map(str, range(76, 100)), "[ERROR] ME(1:2,x): bad"]
    assert useful_tail([NOISE]) == [NOISE]


def test_only_code_2_can_be_a_mistake_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "worker_3.log").write_text("error: old\nnoise\nerror: first\nerror: last\nnoise\n")
    assert user_error(failure(2), tmp_path) == "error: first\nerror: last"
    assert user_error(failure(1), tmp_path) is None
    assert user_error(failure(-2), tmp_path) is None


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
