"""The server's process: builds the network, listens, and ends on a signal after the last answer."""

import argparse
import socket

import uvicorn

from tools.serve.answering import Answerer
from tools.serve.app import Limits, build_app
from tools.serve.batching import Batcher
from train.errors import UserError
from train.inference.checkpoint_source import choose_checkpoint, on_this_disk
from train.inference.trained_model import TrainedModel

# Connections beyond those whose pictures may wait: for the page, and to be refused politely.
_MORE_CONNECTIONS = 256


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Raises:
        UserError: There is no such checkpoint or task, or the port cannot be had.
    """
    tasks = arguments.tasks.split(",") if arguments.tasks else None
    listener = _listener(arguments.host, arguments.port)  # before anything that takes time
    with listener, on_this_disk(arguments.run, print) as folder:
        checkpoint = choose_checkpoint(folder, arguments.checkpoint, arguments.run)
        seen = {"tasks": tasks, "seen_as": arguments.seen_as}
        model = TrainedModel.read(
            checkpoint, **seen, batch=arguments.batch, device=arguments.device
        )
        # Its name alone: where it lies is nobody's business.
        name = arguments.run.rstrip("/").rpartition("/")[2]
        answerer = Answerer(model, f"{name}, {checkpoint.name}" if folder != checkpoint else name)
        print(f"{answerer.about['checkpoint']}: compiling ...", flush=True)
        answerer.warm_up()
        batcher = Batcher(answerer, arguments.batch, arguments.queue)
        limits = Limits(round(arguments.max_mb * 1e6))
        app = build_app(batcher, answerer.about, limits)
        settings = uvicorn.Config(
            app,
            log_level="warning",
            limit_concurrency=arguments.queue + _MORE_CONNECTIONS,
            timeout_graceful_shutdown=30,
        )
        host, port = listener.getsockname()[:2]
        print(f"listening on http://{host}:{port}", flush=True)
        try:
            uvicorn.Server(settings).run(sockets=[listener])
        finally:  # a signal ends it, once all have their answers
            batcher.close()
    return 0


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise UserError(f"--host {host} --port {port}: {error.strerror}") from None
