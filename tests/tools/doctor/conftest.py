"""The server that tests spoil."""

import os
from pathlib import Path

import pytest

from tests.tools.doctor.server import Server
from tools.doctor import cann


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server(tmp_path)
    server.file("requirements-ascend.txt", "# one that any Python here has\nnumpy==1.0\n")
    monkeypatch.setattr(cann, "_REQUIREMENTS", server.root / "requirements-ascend.txt")
    monkeypatch.setenv("PATH", f"{server.bin}:{os.environ['PATH']}")
    return server
