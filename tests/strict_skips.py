"""Tests that CI must not skip: with --strict-skips a skip fails the run, unless it is listed here.

An expected failure (xfail) counts as a skip too. Where the variable CI is "true" the option is on.
"""

import os

import pytest

# How the reason of a skip begins, and why CI does without these tests.
ALLOWED = {
    "no torch": "PyTorch is no requirement of the tests; comparisons with it are made by hand",
    "the real data sets are not at": "too large for the repository; read only where they are",
    "the stand-in for CANN is for x86_64": "CI on aarch64 has no plugin that could be tested",
    "MindSpore's GPU library is in the x86_64 wheel only": "nothing to look at on aarch64",
    "only root can be another user too": "GitHub runs the tests as an ordinary user",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--strict-skips",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="fail if a test is skipped for a reason that is not in tests/strict_skips.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    # With pytest-xdist all reports come to the process that started the workers.
    if config.getoption("--strict-skips") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_StrictSkips())


class _StrictSkips:
    def __init__(self) -> None:
        self.refused: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        expected_failure = getattr(report, "wasxfail", None)
        if expected_failure is not None:
            self._note(report.nodeid, f"xfail: {expected_failure}")
        elif report.skipped:
            self._note(report.nodeid, _reason(report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, _reason(report))

    def _note(self, test: str, reason: str) -> None:
        if not reason.startswith(tuple(ALLOWED)):
            self.refused.append(f"{test}: {reason}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.refused and session.exitstatus in (
            pytest.ExitCode.OK,
            pytest.ExitCode.NO_TESTS_COLLECTED,
        ):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.refused:
            terminalreporter.section(
                "skips that CI does not allow (tests/strict_skips.py)", red=True
            )
            for line in self.refused:
                terminalreporter.line(line)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    place = report.longrepr
    text = place[2] if isinstance(place, tuple) else str(place)
    return text.removeprefix("Skipped: ")
