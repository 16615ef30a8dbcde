"""A real S3 server on loopback (moto), and a proxy before it that records and can do harm."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
import xml.etree.ElementTree as ElementTree
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, urlsplit

import pytest

KEY, SECRET, TOKEN = "AKIDOFTHETESTS", "thesecretofthetests", "thetokenofthetests"
# The server wants a signature on what it gives away, and does not check it.
_SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, Signature=0"
_HEADERS = {"Authorization": _SIGNED, "Content-Type": "application/octet-stream"}
_NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
# Of these the storage module may see none but what a test gives it.
_FOREIGN = ("AWS_", "OBS_", "S3_", "ACCESS_KEY", "SECRET_", "SECURITY_", "SESSION_TOKEN")


def foreign_variables() -> list[str]:
    """Names of this machine's own variables that could get in a test's way."""
    return [name for name in os.environ if name.startswith(_FOREIGN)]


class ObjectStore:
    """A server and one bucket of it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.bucket = f"test-{uuid.uuid4().hex[:12]}"
        self._request("PUT", "")

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs to know to use it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def url(self, key: str, scheme: str = "s3") -> str:
        return f"{scheme}://{self.bucket}/{key}"

    def put(self, key: str, content: bytes) -> None:
        self._request("PUT", key, content)

    def remove(self, key: str) -> None:
        self._request("DELETE", key)

    def get(self, key: str) -> bytes:
        return self._request("GET", key)

    def keys(self, prefix: str = "") -> list[str]:
        tree = ElementTree.fromstring(self._request("GET", f"?list-type=2&prefix={quote(prefix)}"))
        return sorted(
            str(e.findtext(f"{_NAMESPACE}Key")) for e in tree.iter(f"{_NAMESPACE}Contents")
        )

    def _request(self, method: str, key: str, content: bytes | None = None) -> bytes:
        path = key if key.startswith("?") else quote(key)
        request = urllib.request.Request(
            f"{self.endpoint}/{self.bucket}/{path}", content, _HEADERS, method=method
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return bytes(answer.read())


@contextmanager
def moto_server(**variables: str) -> Iterator[str]:
    """A server as a process of its own; its endpoint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "moto did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@dataclass
class Seen:
    """A request as it came."""

    method: str
    url: str
    headers: dict[str, str]


def headers_that_obs_takes(request: Seen) -> dict[str, str]:
    """The headers of a request, which may have none that OBS is known to refuse."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert len(headers["x-amz-content-sha256"]) == 64  # and no STREAMING-...
    refused: tuple[str, ...] = ("content-encoding", "transfer-encoding")
    refused += ("x-amz-trailer", "x-amz-checksum", "x-amz-sdk-checksum")
    assert not [name for name in headers if name.startswith(refused)]
    assert request.method != "PUT" or "content-length" in headers
    return headers


@dataclass
class Proxy:
    """Passes requests on to a server.

    Attributes:
        faults: what to do to the next requests, one each: a status (403, 500, 503), "reset" (no
            answer at all), "lost" (done, but no answer), "truncate" (the answer's body breaks
            off), "short" (half of it, as if it were all), "spoilt" (a wrong byte in it), "slow"
            (half of it, and the rest after ``seconds``), or None for no harm.
        only: does harm to requests of this method alone.
        down: every connection is closed without an answer.
        seconds: how long "slow" takes.
        done: the faults that happened.
        before: called before a request is passed on.
        no_ranges: the server gives everything, whatever part is asked for.
    """

    endpoint: str
    seen: list[Seen] = field(default_factory=list)
    faults: deque[int | str | None] = field(default_factory=deque)
    only: str | None = None
    down: bool = False
    seconds: float = 0.0
    done: list[int | str] = field(default_factory=list)
    before: Callable[["Seen"], None] = lambda _: None
    no_ranges: bool = False


@contextmanager
def proxy_before(endpoint: str) -> Iterator[Proxy]:
    """A proxy, also as HTTP_PROXY of a client that asks for BUCKET.HOST."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    server.proxy, server.behind = proxy, urlsplit(endpoint).netloc  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle_any(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        proxy.seen.append(Seen(self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        proxy.before(proxy.seen[-1])
        fault: int | str | None = None
        if proxy.down:
            fault = "reset"
        elif proxy.only in (None, self.command):
            with contextlib.suppress(IndexError):
                fault = proxy.faults.popleft()
        if fault is not None:
            proxy.done.append(fault)
        if isinstance(fault, int):
            code = "AccessDenied" if fault == 403 else "InternalError"
            self._answer(fault, {}, f"<Error><Code>{code}</Code></Error>".encode())
        elif fault == "reset":
            self._hang_up()
        else:
            self._pass_on(proxy, body, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any

    def _pass_on(self, proxy: Proxy, body: bytes, fault: str | None) -> None:
        parts = urlsplit(self.path)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        if parts.hostname and "." in parts.hostname and not parts.hostname[0].isdigit():
            path = f"/{parts.hostname.split('.')[0]}{path}"  # of a client that uses virtual style
        connection = http.client.HTTPConnection(self.server.behind)  # type: ignore[attr-defined]
        dropped = ("host", "range") if proxy.no_ranges else ("host",)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
        connection.request(self.command, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if fault == "short":
            content = content[: len(content) // 2]
        if fault == "spoilt" and content:
            content = content[:-1] + bytes([content[-1] ^ 1])
        connection.close()
        if fault == "lost":
            return self._hang_up()
        pause = proxy.seconds if fault == "slow" else 0.0
        self._answer(answer.status, dict(answer.getheaders()), content, fault == "truncate", pause)

    def _answer(
        self,
        status: int,
        headers: dict[str, str],
        content: bytes,
        truncate: bool = False,
        pause: float = 0.0,
    ) -> None:
        self.send_response(status)
        length = headers.get("Content-Length", str(len(content)))
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            half = len(content) // 2
            with contextlib.suppress(OSError):  # who asked may have gone
                self.wfile.write(content[:half])
                time.sleep(pause)
                self.wfile.write(b"" if truncate else content[half:])
        if truncate:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(object_store: ObjectStore) -> Iterator[Proxy]:
    """A proxy before the bucket of a test."""
    with proxy_before(object_store.endpoint) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy, object_store: ObjectStore) -> dict[str, str]:
    """Variables of a process that uses the bucket through the proxy."""
    return {**object_store.variables, "AWS_ENDPOINT_URL": proxy.endpoint}


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The endpoint of a server for all tests."""
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture
def object_store(moto: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A bucket of its own for a test, and no variables of this machine's user."""
    for name in foreign_variables():
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return ObjectStore(moto)
