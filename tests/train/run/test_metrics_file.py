"""``metrics.jsonl`` as a run finds it that goes on."""

import os
from pathlib import Path

from train.run.metrics_file import MetricsFile


def test_what_is_damaged_or_later_is_dropped(tmp_path: Path) -> None:
    """Half a line, bytes that are no text, what is no line of ours, and later steps."""
    path = tmp_path / "metrics.jsonl"
    good = [b'{"step": 1}', b'{"step": 2, "loss": 0.5}']
    damaged = [b'{"step": 2, "l\xe1ss": 1}', b"[" * 5000, b"7", b"{}", b'{"step": 3}', b'{"st']
    path.write_bytes(b"\n".join([good[0], *damaged[:3], good[1], *damaged[3:]]))
    MetricsFile(path, print, lambda: None).begin(2)
    assert path.read_bytes() == b"".join(line + b"\n" for line in good)


def test_a_run_that_begins_anew_keeps_nothing(tmp_path: Path) -> None:
    """Not even what one before it has told of its start."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "kind": "changed"}\n{"step": 1}\n')
    MetricsFile(path, print, lambda: None).begin(0)
    assert path.read_bytes() == b""


def test_what_is_told_before_it_begins_is_kept(tmp_path: Path) -> None:
    """That the run was resumed, at once: it may be killed before it has more to tell."""
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 2}\n{"step": 3}\n')
    (tmp_path / "config.yaml").touch()
    metrics = MetricsFile(path, print, lambda: None)
    resumed = '{"step": 2, "kind": "resumed"}'
    metrics.add(resumed)
    metrics.begin(2)
    assert path.read_text().splitlines() == ['{"step": 2}', resumed]
    metrics.add('{"step": 3}')
    assert path.read_text().splitlines() == ['{"step": 2}', resumed, '{"step": 3}']


def test_a_file_that_has_become_shorter_gets_no_hole(tmp_path: Path) -> None:
    """As on a network file system that has lost its end: the next line follows what is left."""
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path, print, lambda: None)
    (tmp_path / "config.yaml").touch()
    metrics.begin(0)
    lines = [f'{{"step": {step}}}' for step in range(1, 5)]
    metrics.add(lines[0])
    metrics.add(lines[1])
    os.truncate(path, len(lines[0]) + 1)
    metrics.add(lines[2])
    metrics.add(lines[3])
    assert path.read_text().splitlines() == [lines[0], *lines[2:]]
