"""What every route of a report asks first: which encoding, and whether the id is one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Path, Request
from starlette.exceptions import HTTPException

from medinterp.api import negotiation
from medinterp.api.report_id import is_report_id
from medinterp.api.schema_jobs import JobModel
from medinterp.errors import ReportNotFoundError

ReportId = Annotated[str, Path(description="The id that POST /v1/reports answered with.")]


ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": JobModel, "description": "With `Prefer: respond-async`: a job does it, `Location` says where."}
}
"""The OpenAPI entry of what may be done as a job."""


def also(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry of further encodings of an answer."""
    return {200: {"content": {media_type: {} for media_type in media_types}}}


def chosen(request: Request, *offered: str) -> str:
    """The encoding that the caller wants. Raises HTTPException 406 when none is offered."""
    best = negotiation.preferred(request.headers.get("accept"), offered)
    if best is None:
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"offered are {', '.join(offered)}")
    return best


def known(report_id: str) -> str:
    """The id, when it is written as one. Raises ReportNotFoundError."""
    if not is_report_id(report_id):
        raise ReportNotFoundError("no report has this id; it may have expired or been deleted")
    return report_id
