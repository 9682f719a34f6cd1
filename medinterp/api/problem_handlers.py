"""Every error of the application leaves as a problem document."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from medinterp.api.log_lines import frames_of
from medinterp.api.problems import MAX_FLAWS, MEDIA_TYPE, Flaw, Problem, problem_of, problem_of_status
from medinterp.errors import MedInterpError

logger = logging.getLogger(__name__)


def problem_response(problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """The HTTP answer that carries a problem document."""
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **problem.headers, **(headers or {})},
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Register a handler for the library's errors, FastAPI's own, and the unforeseen."""

    @app.exception_handler(MedInterpError)
    async def on_purpose(_: Request, error: MedInterpError) -> Response:
        return problem_response(problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        flaws = tuple(
            Flaw(where=".".join(str(part) for part in flaw["loc"]), what=flaw["msg"])
            for flaw in error.errors()[:MAX_FLAWS]
        )
        detail = "; ".join(f"{flaw.where}: {flaw.what}" for flaw in flaws)
        return problem_response(problem_of_status(HTTPStatus.UNPROCESSABLE_ENTITY, detail, flaws))

    @app.exception_handler(HTTPException)
    async def bare_status(_: Request, error: HTTPException) -> Response:
        problem = problem_of_status(error.status_code, error.detail)
        return problem_response(problem, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> Response:
        logger.error("unforeseen %s: %s", type(error).__name__, frames_of(error))
        return problem_response(unforeseen_problem())


def unforeseen_problem() -> Problem:
    """The problem document of a defect: it says nothing of the inside."""
    return problem_of_status(
        HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of the service; its log has the details"
    )
