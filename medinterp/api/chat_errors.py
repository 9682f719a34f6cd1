"""Errors of the route that speaks OpenAI's protocol, in that protocol's words."""

from __future__ import annotations

import gzip
import logging
from http import HTTPStatus

from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medinterp.api.problem_handlers import problem_response, unforeseen_problem
from medinterp.api.problems import MEDIA_TYPE, Problem
from medinterp.api.schema_chat import ChatErrorModel, ChatProblemModel
from medinterp.web.peers import path_of

logger = logging.getLogger(__name__)

PATH = "/chat/completions"
TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.NOT_FOUND: "model_not_found",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}
"""Of problems that have no name of their own; the path is there, so that what is not found is the model."""


def error_of(problem: Problem) -> ChatProblemModel:
    """The same in OpenAI's words."""
    status = HTTPStatus(problem.status)
    kind, _, name = problem.type.rpartition(":")
    code = name.replace("-", "_") if kind.startswith("urn:") else CODES.get(status)
    place = problem.flaws[0].where.split(".") if problem.flaws and code is None else []
    param = ".".join(place[1:]) if place[:1] == ["body"] else None
    message = problem.detail
    if len(problem.flaws) == 1 and code is None:
        message = problem.flaws[0].what.removeprefix("Value error, ")
    return ChatProblemModel(
        error=ChatErrorModel(
            message=f"{param}: {message}" if param else message,
            type=TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            param="model" if code == "model_not_found" else param or None,
            code=code,
        )
    )


class ChatErrors:
    """Rewrites the problem documents of the route; to stand outside of all that may answer in its place.

    What FastAPI and the library call 422 is OpenAI's 400.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer unless it is a problem."""
        if scope["type"] != "http" or path_of(scope) != PATH:
            await self._app(scope, receive, send)
            return
        held: Message | None = None
        begun = False
        body = b""

        async def rewrite(message: Message) -> None:
            nonlocal held, begun, body
            begun = True
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if kind.partition(";")[0] == MEDIA_TYPE:
                    held = message
                    return
            elif held is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await _say(held, body, send)
                return
            await send(message)

        try:
            await self._app(scope, receive, rewrite)
        except Exception as error:
            if not begun:  # Starlette's own answer would come from further out
                logger.error("unforeseen %s", type(error).__name__)
                await problem_response(unforeseen_problem())(scope, receive, rewrite)
            raise


async def _say(begin: Message, body: bytes, send: Send) -> None:
    headers = MutableHeaders(raw=list(begin["headers"]))
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
        del headers["content-encoding"]
    status = begin["status"]
    try:
        body = error_of(Problem.model_validate_json(body)).model_dump_json().encode()
        headers["content-type"] = "application/json"
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            status = int(HTTPStatus.BAD_REQUEST)
    except ValidationError:  # whatever it is, it is no problem of ours
        pass
    headers["content-length"] = str(len(body))
    await send({**begin, "status": status, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})
