"""The application alone, with answers that come when the test wants them."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import uvicorn

from tools.serve.answering import Answered, Question
from tools.serve.app import Limits, build_app
from tools.serve.batching import Batcher


class Slow:
    """Answers once it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.called = threading.Event()

    def __call__(self, questions: Sequence[Question]) -> list[Answered | Exception]:
        self.called.set()
        assert self.may.wait(30)
        if any(question.data == b"fail" for question in questions):
            raise RuntimeError("the secret of the server")
        return [Answered("{}\n", []) for _ in questions]


class App:
    def __init__(self) -> None:
        self.slow = Slow()
        self.batcher = Batcher(self.slow, batch=1, waiting=2)
        limits = Limits(1000, upload_seconds=0.5, answer_seconds=1.0)
        settings = uvicorn.Config(build_app(self.batcher, {}, limits), port=0, log_level="critical")
        self.server = uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def begin(self, data: bytes = b"x", length: int | None = None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Length": str(len(data) if length is None else length)}
        connection.request("POST", "/predict", data, headers)
        return connection

    def close(self) -> None:
        self.slow.may.set()
        self.server.should_exit = True
        self.thread.join()
        self.batcher.close()


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    yield app
    app.close()


def error_of(connection: http.client.HTTPConnection) -> tuple[int, str]:
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())["error"]


def test_a_full_queue_refuses_at_once(app: App) -> None:
    first = app.begin()
    assert app.slow.called.wait(30)
    waiting = [app.begin() for _ in range(2)]
    deadline = time.monotonic() + 30
    while app.batcher.waiting < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = app.begin().getresponse()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    app.slow.may.set()
    assert [c.getresponse().status for c in (first, *waiting)] == [200] * 3


def test_nobody_waits_for_ever(app: App) -> None:
    assert error_of(app.begin()) == (503, "no answer in time: try again later")
    assert error_of(app.begin(b"half", length=100)) == (408, "the picture has not come in time")


def test_a_failure_tells_nothing_of_the_server(app: App) -> None:
    app.slow.may.set()
    assert error_of(app.begin(b"fail")) == (500, "the server has failed: see its log")
    assert app.begin().getresponse().status == 200
