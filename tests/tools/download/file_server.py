"""An HTTP server of files on loopback that breaks in the ways servers and networks do."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: Answered instead of the file.
        cut: Bytes of the body after which the connection ends.
        stall: Whether it then stays open and silent instead.
        ranges: Whether Range is honoured.
        careless: Whether If-Range is not looked at.
        page: Whether a web page comes instead.
    """

    status: int = 0
    cut: int | None = None
    stall: bool = False
    ranges: bool = True
    careless: bool = False
    page: bool = False


_NONE = Fault()


@dataclass
class Served:
    """One file: its bytes, its version, and the faults of the requests to come."""

    data: bytes
    tag: str = '"v1"'
    faults: list[Fault] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    redirect: str = ""


class FileServer:
    """The running server.

    Attributes:
        files: Files by name.
        seen: Request lines, as a proxy would see them too.
    """

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.seen: list[str] = []
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def add(self, name: str, data: bytes, *faults: Fault) -> str:
        """Serves a file; returns its address."""
        self.files[name] = Served(data, faults=list(faults))
        return self.url(name)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


@contextmanager
def running() -> Iterator[FileServer]:
    owner = FileServer()
    thread = threading.Thread(target=owner.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield owner
    finally:
        owner.released.set()
        owner.server.shutdown()
        thread.join()
        owner.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    owner: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        self.owner.seen.append(self.requestline)
        self.close_connection = True
        served = self.owner.files.get(self.path.split("/")[-1])
        if served is None:
            self._answer(404, b"no such file", {})
            return
        served.ranges.append(self.headers.get("Range"))
        fault = served.faults.pop(0) if served.faults else _NONE
        if served.redirect:
            self._answer(302, b"", {"Location": served.redirect})
        elif fault.status:
            self._answer(fault.status, b"fault", {})
        elif fault.page:
            self._answer(200, b"<html>log in</html>", {"Content-Type": "text/html"})
        else:
            self._file(served, fault)

    def _file(self, served: Served, fault: Fault) -> None:
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        fits = fault.careless or self.headers.get("If-Range") in (None, served.tag)
        total = len(served.data)
        if asked and fits and fault.ranges:
            begin = int(asked[1])
            if begin >= total:
                self._answer(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            headers = {
                "ETag": served.tag,
                "Content-Range": f"bytes {begin}-{total - 1}/{total}",
            }
            self._answer(206, served.data[begin:], headers, fault)
        else:
            self._answer(200, served.data, {"ETag": served.tag}, fault)

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str], fault: Fault = _NONE
    ) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/zip", "Content-Length": str(len(body))} | headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if fault.cut is None else body[: fault.cut])
        self.wfile.flush()
        if fault.stall:
            self.owner.released.wait()
