"""One file over HTTP: resumed where it broke off, tried again, from several addresses."""

import contextlib
import errno
import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tools.common.command_line import refused
from tools.common.console import Moved
from train.errors import UserError
from train.files import read_json, replace_file
from train.storage.locks import Lock

Response = http.client.HTTPResponse

_BLOCK = 256 * 1024
# What is left free on the disk besides the file itself.
_SPARE_BYTES = 64 * 2**20
# A broken connection that brought at least this much does not count as a failed try.
_PROGRESS_BYTES = 4 * 2**20
_PASSING_CODES = (408, 416, 425, 429, 500, 502, 503, 504)


class Unavailable(Exception):
    """An address does not give the file, for good."""


class _Passing(Exception):
    """A fault that may be gone at the next try."""


@dataclass(frozen=True)
class Policy:
    """How stubborn to be.

    Attributes:
        tries: Tries in a row that may bring nothing, for each address.
        timeout: Seconds without a byte after which a connection counts as broken.
        pause: Seconds before the second try; each further pause is twice as long.
    """

    tries: int = 5
    timeout: float = 60.0
    pause: float = 1.0


class Part:
    """A file that is being fetched: ``<file>.part``, and beside it where it comes from.

    Both stay when the fetching is interrupted; the next one goes on from there. One process at a
    time may hold it.

    Args:
        target: The file to be.

    Raises:
        UserError: The folder cannot be written, or another process is fetching the same file.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._about = target.with_name(f"{target.name}.part.json")

    @contextlib.contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """Open the part for appending, locked."""
        with contextlib.ExitStack() as held:
            with refused(self.path, "cannot be written"):
                self.target.parent.mkdir(parents=True, exist_ok=True)
                file = held.enter_context(self.path.open("ab"))
                lock = Lock(self.path)
                held.callback(lock.free)
            if not lock.take():
                raise UserError(f"{self.path}: another process is fetching it")
            yield file

    def known(self, url: str) -> dict[str, Any]:
        """Return what is known of the bytes that are there, if they came from this address."""
        try:
            about = read_json(self._about)
        except (OSError, ValueError):
            return {}
        return about if isinstance(about, dict) and about.get("url") == _digest(url) else {}

    def remember(self, about: dict[str, Any]) -> None:
        """Note where the bytes to come are from."""
        replace_file(self._about, json.dumps(about).encode())

    def finish(self) -> None:
        """Give the whole file its name."""
        self.path.replace(self.target)
        self._about.unlink(missing_ok=True)

    def drop(self) -> None:
        """Remove what is there."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


def fetch(url: str, part: Part, expected: int | None, policy: Policy, moved: Moved) -> None:
    """Fetch a file into ``part``, going on from what is there of it.

    Args:
        url: Address.
        part: Where to.
        expected: Size of the file in bytes, if known: anything else is not fetched.
        policy: How often to try.
        moved: Is told how far it is.

    Raises:
        Unavailable: The address does not give this file, in spite of all tries.
        UserError: It cannot be written: no room on the disk, for instance.
    """
    failed = 0
    with part.opened() as file:
        while True:
            before = file.seek(0, 2)
            try:
                _attempt(url, part, file, expected, policy.timeout, moved)
                return
            except _Passing as fault:
                brought = file.seek(0, 2) - before
                failed = 0 if brought >= _PROGRESS_BYTES else failed + 1
                if failed >= policy.tries:
                    raise Unavailable(f"{fault} ({failed} tries)") from None
            time.sleep(policy.pause * 2 ** max(0, failed - 1))


def _attempt(
    url: str, part: Part, file: IO[bytes], expected: int | None, timeout: float, moved: Moved
) -> None:
    about = part.known(url)
    offset = file.seek(0, 2) if about.get("validator") else 0
    if offset and offset == about.get("total"):
        return
    headers = {"User-Agent": "mtln-tools-download", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": about["validator"]}
    try:
        # The default opener follows redirections and uses the proxies of the environment.
        request = urllib.request.Request(url, headers=headers)
        response: Response = urllib.request.build_opener().open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            # What is there is longer than the file, or the like: begin again.
            file.truncate(0)
        reason = f"{error.code} {error.reason}"
        raise (_Passing if error.code in _PASSING_CODES else Unavailable)(reason) from None
    except (OSError, http.client.HTTPException) as error:
        raise _Passing(_told(error)) from None
    with response:
        if response.status != 206 or not _goes_on(response, offset, about):
            if response.status == 206 and offset:
                file.truncate(0)
                raise _Passing("the file has changed on the server")
            offset = 0
            file.truncate(0)
        total = _total(response, offset)
        _check(response, total, expected)
        needed, free = (total or expected or 0) - offset, shutil.disk_usage(part.path.parent).free
        if needed + _SPARE_BYTES > free:
            raise UserError(
                f"{part.path.parent}: no room: {needed / 1e6:.0f} MB are still to come, "
                f"{free / 1e6:.0f} MB are free (give another --out)"
            )
        part.remember({"url": _digest(url), "validator": _validator(response), "total": total})
        _receive(response, file, offset, total, moved)


def _digest(url: str) -> str:
    """Return what tells an address from others without telling it: it may be signed."""
    return hashlib.sha256(url.encode()).hexdigest()


def _validator(response: Response) -> str:
    """Return what tells versions of the file apart; empty if the server gives nothing."""
    tag = response.headers.get("ETag", "")
    strong = tag if tag and not tag.startswith("W/") else ""
    return strong or response.headers.get("Last-Modified", "")


def _goes_on(response: Response, offset: int, about: dict[str, Any]) -> bool:
    """Return whether a partial answer begins where asked, in the same version of the file."""
    begin = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    same = _validator(response) in ("", about.get("validator"))
    return bool(begin and int(begin[1]) == offset and same)


def _total(response: Response, offset: int) -> int | None:
    ranged = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    if ranged:
        return int(ranged[1])
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdigit() else None


def _check(response: Response, total: int | None, expected: int | None) -> None:
    if response.headers.get_content_type() == "text/html":
        raise Unavailable("a web page instead of the file")
    if expected is not None and total is not None and total != expected:
        raise Unavailable(f"another file: {total} bytes instead of {expected}")


def _receive(
    response: Response, file: IO[bytes], here: int, total: int | None, moved: Moved
) -> None:
    moved(here, total)
    while total is None or here < total:
        try:
            block = response.read1(_BLOCK)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _Passing(_told(error)) from None
        if not block:
            break
        _write(file, block)
        here += len(block)
        moved(here, total)
    if total is not None and here != total:
        raise _Passing(f"the connection broke after {here} of {total} bytes")


def _write(file: IO[bytes], block: bytes) -> None:
    try:
        file.write(block)
        file.flush()
    except OSError as error:
        hint = "; what is there is kept" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(f"{file.name}: cannot be written: {error.strerror}{hint}") from None


def _told(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return " ".join(str(reason).split()) or type(error).__name__
