"""A report that cannot be written costs a run a line, and nothing else."""

from pathlib import Path

from train.run.final_report import write_report


def test_what_goes_wrong_is_told_in_a_line(tmp_path: Path) -> None:
    """Here it is no run folder at all."""
    said: list[str] = []
    write_report(tmp_path, lambda: None, said.append)
    [line] = said
    assert line.startswith("warning: no report.html: error: ")
    assert "no config.yaml in it" in line and "\n" not in line
    assert line.endswith(f"(python -m tools report {tmp_path} tries again)")
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("before")
    write_report(tmp_path, lambda: None, lambda line: None)
    assert (tmp_path / "report.html").read_text() == "before"
