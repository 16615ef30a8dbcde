"""The server's process: builds the network, listens, and ends on a signal after the last answer."""

import argparse
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn
from PIL import Image

from tools.serve.answering import Answerer
from tools.serve.app import Limits, build_app
from tools.serve.desk import Desk
from train.errors import UserError
from train.inference.checkpoint_source import choose_checkpoint, on_this_disk
from train.inference.trained_model import TrainedModel
from train.process.collector import objects_kept

# Connections beyond those whose pictures may wait: for the page, and to be refused politely.
_MORE_CONNECTIONS = 256


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; return the exit code that tells which.

    Raises:
        UserError: There is no such checkpoint or task, or the port cannot be had.
    """
    # Pillow's own limit is one for all threads, and ours is lower.
    Image.MAX_IMAGE_PIXELS = None
    listener = _listener(arguments.host, arguments.port)  # before anything that takes time
    with listener, on_this_disk(arguments.run, print) as folder:
        answerer = _answerer(arguments, folder)
        print(f"{answerer.about['checkpoint']}: compiling ...", flush=True)
        answerer.warm_up()
        desk = Desk(answerer, arguments.batch, arguments.queue)
        app = build_app(desk, answerer.about, Limits(round(arguments.max_mb * 1e6)))
        server = _Server(
            uvicorn.Config(
                app,
                log_level="warning",
                limit_concurrency=arguments.queue + _MORE_CONNECTIONS,
                timeout_graceful_shutdown=30,
            )
        )
        host, port = listener.getsockname()[:2]
        with server.ended_by_signals(), objects_kept():
            print(f"listening on http://{host}:{port}", flush=True)
            try:
                server.run(sockets=[listener])
            finally:  # a signal ends it, once all have their answers
                desk.close()
    return 128 + server.ended_by if server.ended_by else 0


class _Server(uvicorn.Server):
    """A server that tells which signal has ended it.

    uvicorn's own way, to catch signals within its loop and to raise them again afterwards, loses
    those that come before the loop runs.

    Attributes:
        ended_by: Number of the first signal; 0: none yet.
    """

    ended_by = 0

    @contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """End after the last answer when a signal comes, and at once when another one does."""
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # so nohup asks for it
            numbers.append(signal.SIGHUP)
        before = [signal.signal(number, self._note) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self.ended_by = self.ended_by or number


def _answerer(arguments: argparse.Namespace, folder: Path) -> Answerer:
    checkpoint = choose_checkpoint(folder, arguments.checkpoint, arguments.run)
    model = TrainedModel.read(
        checkpoint,
        tasks=arguments.tasks.split(",") if arguments.tasks else None,
        seen_as=arguments.seen_as,
        batch=arguments.batch,
        device=arguments.device,
    )
    # Its name alone: where it lies is nobody's business.
    name = arguments.run.rstrip("/").rpartition("/")[2]
    where = f"{name}, {checkpoint.name}" if folder != checkpoint else name
    return Answerer(model, where, arguments.max_pixels)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}") from None
