"""Files of ours that somebody else may have written."""

from pathlib import Path

import pytest

from train import files
from train.files import read_json


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, "9" * 5000, "", "\udcff"])
def test_what_is_no_json_of_ours(text: str, tmp_path: Path) -> None:
    """All readers of JSON expect this error, and no RecursionError."""
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError):
        read_json(path)


def test_a_file_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_MOST_JSON_BYTES", 4)
    path = tmp_path / "x.json"
    path.write_text("[12]")
    assert read_json(path) == [12]
    path.write_text("[123]")
    with pytest.raises(ValueError, match="5 bytes are too many"):
        read_json(path)
