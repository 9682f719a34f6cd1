"""What FastAPI's document of the API lacks: the media type of problems, headers, and examples."""

from __future__ import annotations

from typing import Any

from medinterp.api.examples import add_examples
from medinterp.api.problems import MEDIA_TYPE

KEYED = ("/reports", "/batches")
"""POST there makes something; so does each that may be a job."""
TAGGED = ("/film.png", "/overlay.png", "/export", "/maps/packed")
PREFER = (
    "Prefer",
    "`respond-async`: a job does it (202), which goes on when the caller, or the replica that runs it, goes away.",
)
KEY = (
    "Idempotency-Key",
    "1 to 200 characters, drawn anew for each request. The same request sent again under it is answered with what the "
    "first made (`Idempotency-Replayed: true`), another one is refused (409), and so is the same one while it is "
    "being answered (409, Retry-After).",
)
MATCH = ("If-None-Match", "The ETag of an earlier answer: 304 without a body where it still holds.")
NOT_MODIFIED = {"description": "What `If-None-Match` names still holds."}


def complete(document: dict[str, Any]) -> None:
    """Change a document of FastAPI's, which takes every answer for application/json, in its place."""
    for path, operations in document["paths"].items():
        for verb, operation in operations.items():
            answers = operation["responses"]
            problem = answers["default"]["content"]
            if problem["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}:  # OpenAI's are others
                problem[MEDIA_TYPE] = problem.pop("application/json")
            may_be_job = "202" in answers and path != "/batches"
            if may_be_job:
                _header(operation, *PREFER)
            if verb == "post" and (may_be_job or path in KEYED):
                _header(operation, *KEY)
            if verb == "get" and path.endswith(TAGGED):
                _header(operation, *MATCH)
                answers["304"] = NOT_MODIFIED
    add_examples(document["paths"], MEDIA_TYPE)


def _header(operation: dict[str, Any], name: str, told: str) -> None:
    header = {"name": name, "in": "header", "required": False, "description": told, "schema": {"type": "string"}}
    operation.setdefault("parameters", []).append(header)
