"""python -m tools serve: a web server that answers for a trained network.

Read desk.py first: it shows the way of a picture. answering.py is what is done on that way;
shown.py draws what the page shows; app.py speaks HTTP; server.py is the process.
"""

import argparse

from tools.common.command_line import describe
from tools.common.network_options import add_computing_options, add_network_options

# Some 10 bytes of memory each while a picture is decoded: half a gigabyte.
MAX_PIXELS = 50_000_000

_EPILOG = """\
RUN is a run folder, a checkpoint or an address in object storage. Open http://HOST:PORT in a
browser, or ask for JSON, with the picture itself as the body:

  curl --data-binary @picture.jpg "http://127.0.0.1:8000/predict?name=picture.jpg"

There is neither a password nor encryption: what listens on other addresses than 127.0.0.1 is for a
network that you trust, or belongs behind a proxy that has both.

exit code: 130 or 143 ended by Ctrl-C or TERM; 2 a mistake in what was asked for."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    describe(parser, "Serve a trained network: a page to try it with, and JSON.", _EPILOG)
    add_network_options(parser)
    add_computing_options(parser)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on; 0 for any (default: 8000)")
    text = "pictures that may be without an answer; further ones are refused (default: 64)"
    add("--queue", metavar="N", type=int, default=64, help=text)
    add("--max-mb", metavar="MB", type=int, default=20, help="largest upload (default: 20)")
    text = f"most pixels of a picture, as its header tells (default: {MAX_PIXELS})"
    add("--max-pixels", metavar="N", type=int, default=MAX_PIXELS, help=text)


def run(arguments: argparse.Namespace, argv: list[str]) -> int:
    """Run the command; return the exit code."""
    from tools.common.command_line import check_ranges, require_packages

    require_packages("tools serve", "requirements-serve.txt", "starlette", "uvicorn")
    limits = {"port": (0, 65535), "batch": (1, 4096), "queue": (1, 10**5), "max_mb": (1, 10**4)}
    check_ranges(arguments, limits | {"max_pixels": (1, 2**31 - 1)})
    from tools.serve.server import serve

    return serve(arguments)
