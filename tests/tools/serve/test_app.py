"""The application alone, with answers that come when the test wants them."""

import http.client
import json
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from tests.tools.serve.steps import Steps
from tools.serve.app import Limits, build_app
from tools.serve.desk import Desk


class App:
    def __init__(self) -> None:
        self.steps = Steps()
        self.desk = Desk(self.steps, batch=1, most=3)
        limits = Limits(1000, upload_seconds=0.5, answer_seconds=1.0)
        settings = uvicorn.Config(build_app(self.desk, {}, limits), port=0, log_level="critical")
        self.server = uvicorn.Server(settings)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def begin(
        self, data: bytes = b"x", length: int | None = None, kind: str = "image/png"
    ) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        size = str(len(data) if length is None else length)
        headers = {"Content-Length": size, "Content-Type": kind}
        connection.request("POST", "/predict", data, headers)
        return connection

    def close(self) -> None:
        self.steps.may_compute.set()
        self.server.should_exit = True
        self.thread.join()
        self.desk.close()


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
    assert app.steps.computing.wait(30)
    waiting = [app.begin() for _ in range(2)]
    deadline = time.monotonic() + 30
    while app.desk.waiting < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    refused = app.begin().getresponse()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    app.steps.may_compute.set()
    assert [c.getresponse().status for c in (first, *waiting)] == [200] * 3


def test_nobody_waits_for_ever(app: App) -> None:
    assert error_of(app.begin()) == (503, "no answer in time: try again later")
    assert error_of(app.begin(b"half", length=100)) == (408, "the picture has not come in time")


def test_a_failure_tells_nothing_of_the_server(app: App) -> None:
    app.steps.may_compute.set()
    assert error_of(app.begin(b"fail")) == (500, "the server has failed: see its log")
    assert app.begin().getresponse().status == 200


def test_a_form_is_told_what_is_wanted(app: App) -> None:
    app.steps.may_compute.set()
    status, told = error_of(app.begin(kind="Multipart/Form-Data; boundary=x"))
    assert status == 415 and "--data-binary @picture.jpg" in told and "\n" not in told
    # What curl --data-binary says of a picture.
    answer = app.begin(kind="application/x-www-form-urlencoded").getresponse()
    assert answer.status == 200
