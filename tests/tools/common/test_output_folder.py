"""Output folders where nothing can be written: one line that names them, and nothing left."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.commands import Tools
from tools.common.output_folder import whole_folder
from train.errors import UserError


@pytest.fixture
def file_limit() -> Iterator[None]:
    """No file can have more than 20 KB: what a full disk is like, but for the reason."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_prepare(source: Path, tools: Tools, tmp_path: Path, file_limit: None) -> None:
    out = tmp_path / "records" / "set"
    tools("prepare", source, "--out", out, "--workers", 1).assert_error(f"error: {out}: ")
    assert not out.parent.exists()


def test_only_the_folder_that_the_user_knows_is_named(tmp_path: Path, file_limit: None) -> None:
    """Also of folders within folders, as demo-data makes them."""

    def fill(problem: str) -> None:
        with (
            whole_folder(tmp_path / "out", False, lambda folder: True) as outer,
            whole_folder(outer / "set", False, lambda folder: True) as inner,
        ):
            if problem:
                raise UserError(f"{inner}/x: {problem}")
            (inner / "x").write_bytes(bytes(30_000))

    with pytest.raises(OSError, match="File too large") as raised:
        fill("")
    assert raised.value.filename == str(tmp_path / "out")
    with pytest.raises(UserError, match=f"^{tmp_path}/out/set/x: no good$"):
        fill("no good")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [("prepare", "{source}"), ("demo-data",)])
def test_a_file_system_that_is_not_for_writing(
    command: tuple[str, ...], source: Path, tools: Tools
) -> None:
    for out in ("/sys/set", "/sys/new/set"):
        words = [word.format(source=source) for word in command]
        tools(*words, "--out", out).assert_error(f"{out}: cannot be made: ")


def test_errors_about_other_files_keep_their_names(tmp_path: Path) -> None:
    with (
        pytest.raises(IsADirectoryError) as raised,
        whole_folder(tmp_path / "out", False, lambda folder: True),
    ):
        (tmp_path).write_bytes(b"")
    assert raised.value.filename == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
