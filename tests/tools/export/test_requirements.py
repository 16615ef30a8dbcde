"""The packages of the command are among those of the tests, in the same versions."""

from tests.paths import ROOT


def lines(name: str) -> set[str]:
    found = (ROOT / name).read_text().splitlines()
    return {line for line in found if line and not line.startswith("#")}


def test_tests_have_what_the_command_needs() -> None:
    needed = lines("requirements-export.txt")
    assert {line.partition("==")[0] for line in needed} >= {"onnx", "onnxruntime", "stac-model"}
    assert needed <= lines("requirements-test.txt")
