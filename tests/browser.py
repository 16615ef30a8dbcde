"""A real browser without a screen, driven through its own protocol: Chromium, over a WebSocket.

https://chromedevtools.github.io/devtools-protocol/
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_SECONDS = 120.0

Values = dict[str, Any]
Socket = aiohttp.ClientWebSocketResponse[Any]


class Page:
    """A tab of the browser.

    Attributes:
        events: What the browser has told of it, in its order.
    """

    def __init__(self, socket: Socket, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = itertools.count(10)
        self.events: list[Values] = []

    async def call(self, method: str, **parameters: Any) -> Values:
        """Ask for something; return the result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json({**message, "sessionId": self._session})
        while True:
            answer = await self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    async def open(self, place: Path | str) -> None:
        """Load a page, from the disk or from an address."""
        for domain in ("Page", "Runtime", "Network", "Log"):
            await self.call(f"{domain}.enable")
        address = place if isinstance(place, str) else place.as_uri()
        await self.call("Page.navigate", url=address)
        while not any(e["method"] == "Page.loadEventFired" for e in self.events):
            await self._next()

    async def value(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        deadline = time.monotonic() + _SECONDS
        while not await self.value(condition):
            assert time.monotonic() < deadline, f"never: {condition}"
            await asyncio.sleep(0.05)

    async def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in a field for files, as a user would."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    async def show(self, width: int, media: str = "screen", scheme: str = "light") -> None:
        """Show the page so wide, in pixels, on a medium, light or dark."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def requests(self) -> list[str]:
        """Return the addresses that were asked for, but for data within the page."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        addresses = [str(event["params"]["request"]["url"]) for event in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def complaints(self) -> list[Values]:
        """Return what the browser complains of: errors, and whatever was printed."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event for event in self.events if event["method"] in kinds]

    async def _next(self) -> Values:
        answer: Values = await self._socket.receive_json(timeout=_SECONDS)
        if "method" in answer:
            self.events.append(answer)
        return answer


def browse(work: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
    """Do some work with a page of a browser that is started for it."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium (bash .ci/packages.sh)")
    # Its processes may still write while they are killed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options += ["--no-first-run", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            [program, *options, "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            asyncio.run(_work(_address(process, Path(profile)), work))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(process: subprocess.Popen[bytes], profile: Path) -> str:
    told, deadline = profile / "DevToolsActivePort", time.monotonic() + _SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if told.exists() and len(lines := told.read_text().splitlines()) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    pytest.fail(f"{json.dumps(process.args)} does not start")


async def _work(address: str, work: Callable[[Page], Coroutine[Any, Any, None]]) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(address, max_msg_size=0) as socket,
    ):
        await socket.send_json(
            {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
        )
        target = (await _answer(socket, 1))["targetId"]
        attach = {"targetId": target, "flatten": True}
        await socket.send_json({"id": 2, "method": "Target.attachToTarget", "params": attach})
        await work(Page(socket, (await _answer(socket, 2))["sessionId"]))


async def _answer(socket: Socket, number: int) -> Values:
    while True:
        answer: Values = await socket.receive_json(timeout=_SECONDS)
        if answer.get("id") == number:
            return dict(answer["result"])
