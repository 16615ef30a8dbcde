"""The web application: a page to try a network with, and the same as JSON.

=====  ==========  =================================================================
GET    /           the page
POST   /predict    a picture as the body -> a line of ``predictions.jsonl``, as JSON
POST   /look       the same with what the page shows: attention maps, masks over the picture
GET    /about      tasks, classes, checkpoint
GET    /health     whether it answers, and how many pictures wait
=====  ==========  =================================================================

Every mistake is answered by ``{"error": "one line"}`` with the status that fits.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tools.common.heat_map import scale
from tools.serve.answering import Answered, NoPicture, Question
from tools.serve.batching import Full
from tools.serve.desk import Desk

_PAGE = Path(__file__).with_name("page.html")
_LONGEST_NAME = 200
_RAW = (
    "multipart/form-data (curl -F) is not taken: send the picture itself as the body, as "
    "curl --data-binary @picture.jpg does"
)
# Nothing on the page comes from elsewhere, and nobody else may show it in a frame.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Limits:
    """What the server takes.

    Attributes:
        bytes: Largest picture as it comes.
        upload_seconds: How long one may take to come.
        answer_seconds: How long it may wait for its answer.
    """

    bytes: int
    upload_seconds: float = 30.0
    answer_seconds: float = 120.0


def build_app(desk: Desk, about: Mapping[str, Any], limits: Limits) -> Starlette:
    """Return the application.

    Args:
        desk: Answers pictures.
        about: What the network is.
        limits: What is taken.
    """
    server = _Server(desk, about, limits)
    routes = [
        Route("/", server.page),
        Route("/predict", server.predict, methods=["POST"]),
        Route("/look", server.look, methods=["POST"]),
        Route("/about", server.tell_about),
        Route("/health", server.health),
    ]
    handlers: Any = {HTTPException: _mistake, 500: _failure}
    return Starlette(routes=routes, exception_handlers=handlers)


class _Server:
    def __init__(self, desk: Desk, about: Mapping[str, Any], limits: Limits) -> None:
        self.desk = desk
        self.about = about
        self.limits = limits
        self.html = _PAGE.read_text(encoding="utf-8").replace("HEAT_COLOURS", ", ".join(scale()))

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self.html, headers=_HEADERS)

    async def tell_about(self, request: Request) -> Response:
        return JSONResponse(dict(self.about))

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "waiting": self.desk.waiting})

    async def predict(self, request: Request) -> Response:
        answered = await self._answer(request, with_pictures=False)
        return Response(answered.line, media_type="application/json")

    async def look(self, request: Request) -> Response:
        answered = await self._answer(request, with_pictures=True)
        return JSONResponse({"answer": json.loads(answered.line), **answered.shown})

    async def _answer(self, request: Request, with_pictures: bool) -> Answered:
        name = request.query_params.get("name", "picture")[:_LONGEST_NAME]
        try:
            data = await asyncio.wait_for(self._body(request), self.limits.upload_seconds)
        except asyncio.TimeoutError:
            raise HTTPException(408, "the picture has not come in time") from None
        except ClientDisconnect:
            raise HTTPException(400, "the picture has not come whole") from None
        if not data:
            raise HTTPException(400, "no picture: send one as the body of the request")
        # Only now: who sends more hears nothing while nobody reads it.
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            raise HTTPException(415, _RAW)
        try:
            answer = self.desk.answer(Question(name, data, with_pictures))
            return await asyncio.wait_for(answer, self.limits.answer_seconds)
        except Full:
            raise HTTPException(
                503, "too many pictures wait: try again later", {"retry-after": "1"}
            ) from None
        except NoPicture as error:
            raise HTTPException(422, str(error)) from None
        except asyncio.TimeoutError:
            raise HTTPException(503, "no answer in time: try again later") from None

    async def _body(self, request: Request) -> bytes:
        """Read a body, and no more of it than is taken."""
        most = self.limits.bytes
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most:
            raise _too_large(most)
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise _too_large(most)
            parts.append(part)
        return b"".join(parts)


def _too_large(most: int) -> HTTPException:
    # The rest of it is not read, so the connection is of no use any more.
    text = f"larger than the {most / 1e6:g} MB that are taken (--max-mb)"
    return HTTPException(413, text, {"connection": "close"})


def _mistake(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _failure(request: Request, error: Exception) -> Response:
    # The traceback is in the server's log, and none of the asker's business.
    return JSONResponse({"error": "the server has failed: see its log"}, 500)
