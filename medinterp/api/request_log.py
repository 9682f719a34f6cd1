"""One log line a request: who, which route, what came of it, how long; never what was asked or answered.

The line's facts are in the record's `medinterp` attribute, whose formatter (log_lines.JsonLines) writes them out.
"""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from medinterp.api.access.door import PROBES
from medinterp.api.access.principal import VISIT
from medinterp.api.log_lines import FACTS, frames_of
from medinterp.api.problem_handlers import problem_response, unforeseen_problem
from medinterp.web.peers import path_of
from medinterp.web.request_id import REQUEST_ID

logger = logging.getLogger(__name__)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


class DefectError(RuntimeError):
    """An answer that had begun cannot be ended as it should; what happened is in the log."""


class RequestLog:
    """Logs each request, and defects without their text, which may quote a film's header or a report."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log it when its answer has ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        VISIT.set(None)
        status, sent, received = 0, 0, 0
        started = time.monotonic()
        first_s: float | None = None

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal status, sent, first_s
            if message["type"] == "http.response.start":
                status, first_s = message["status"], time.monotonic() - started
            else:
                sent += len(message.get("body", b""))
            await send(message)

        outcome = "ended"
        try:
            await self._app(scope, receive_counted, send_counted)
        except Exception as error:
            outcome = "defect"
            logger.error("unforeseen %s: %s", type(error).__name__, frames_of(error))
            if status:
                raise DefectError("the answer broke off; the log says where") from None
            await problem_response(unforeseen_problem())(scope, receive, send_counted)
        except BaseException:
            outcome = "broken off"
            raise
        finally:
            quiet = status == 200 and path_of(scope) in PROBES
            visit = VISIT.get()
            facts = {
                "request_id": REQUEST_ID.get(),
                "key": None if visit is None else visit.name,
                "method": scope["method"] if scope["method"] in METHODS else "other",
                "route": None if visit is None else visit.route,
                "status": status or None,
                "outcome": outcome,
                "seconds": round(time.monotonic() - started, 4),
                "first_byte_s": None if first_s is None else round(first_s, 4),
                "bytes_in": received,
                "bytes_out": sent,
            }
            logger.log(
                logging.DEBUG if quiet else logging.INFO,
                "%s %s %s in %.3f s, key %s, request %s",
                facts["method"],
                facts["route"] or "no route",
                facts["status"] or outcome,
                facts["seconds"],
                facts["key"] or "none",
                facts["request_id"],
                extra={FACTS: facts},
            )
