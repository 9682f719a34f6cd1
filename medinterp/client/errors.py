"""Problem documents (RFC 9457) as exceptions: one class a kind, each also the library's own of that name.

    MedInterpError
    ├── ProblemError                 the service said no, and why
    │   ├── FilmWithheldError ...       one of each class in medinterp.errors, under both
    │   ├── KeyRefusedError             no key, or one that does not hold           (HTTP 401)
    │   ├── ForbiddenError              the key may not do this                     (HTTP 403)
    │   ├── ConflictError               this Idempotency-Key came with another body (HTTP 409)
    │   ├── TooManyRequestsError        and ServiceBusyError                        (HTTP 429)
    │   ├── InvalidRequestError         the request is not as it must be            (HTTP 4xx)
    │   └── UnavailableError            and ServiceError                            (HTTP 5xx)
    └── ServiceError
        ├── UnreachableError         nobody answered, or the answer broke off
        └── NotUnderstoodError       the answer is not one of this service's
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medinterp import errors
from medinterp.types import FilmWarning

REPORT_ID = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{24}\b")
"""Whoever has it can read the report: no text of an error or a log holds more than its beginning."""


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong with the request: where, and what."""

    where: str
    what: str


class ProblemError(errors.MedInterpError):
    """The service answered with a problem.

    status: of HTTP; kind: the URN of the problem's type, or "about:blank"; title, detail: what the service says;
    flaws: what is wrong, one by one; request_id: by which its log tells more; retry_after_s: when to try again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        flaws: tuple[Flaw, ...] = (),
        request_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        """As the problem document has them."""
        Exception.__init__(self, status, kind, title, detail, flaws, request_id, retry_after_s)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.flaws = flaws
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        if isinstance(self, errors.FilmWithheldError):
            self.film = flaws[0].where.partition(".")[0] if flaws else "image"
            self.warnings = tuple(FilmWarning(flaw.where.rpartition(".")[2], flaw.what, True) for flaw in flaws)

    def __str__(self) -> str:
        """What is wrong, the status, and the request's id."""
        told = f" (HTTP {self.status}" + (f", request {self.request_id})" if self.request_id else ")")
        return REPORT_ID.sub(r"\1...", self.detail) + told


class KeyRefusedError(ProblemError):
    """The service asks for a key, or this one does not hold."""


class ForbiddenError(ProblemError):
    """The key may not do this."""


class ConflictError(ProblemError):
    """The request contradicts another one, e.g. its Idempotency-Key came with another body before."""


class InvalidRequestError(ProblemError):
    """The request is not as it must be."""


class UnavailableError(ProblemError, errors.ServiceError):
    """The service, or a proxy before it, cannot answer."""


class TooManyRequestsError(ProblemError, errors.ServiceBusyError):
    """The key or the address asks too often."""


class UnreachableError(errors.ServiceError):
    """Nobody answered, or the answer broke off on the way."""


class NotUnderstoodError(errors.ServiceError):
    """The answer is not one of this service's: another program's, or another version's."""


def _kinds(parent: type[errors.MedInterpError]) -> dict[str, type[ProblemError]]:
    """A class for each kind of problem that the service has, by its URN; made from the library's own tree."""
    found: dict[str, type[ProblemError]] = {}
    for child in (parent, *parent.__subclasses__()):
        if child.__module__ != errors.__name__:
            continue
        if child is not parent:
            found |= _kinds(child)
            continue
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", child.__name__.removesuffix("Error")).lower()
        bases = (ProblemError,) if child is errors.MedInterpError else (ProblemError, child)
        made: type[ProblemError] = type(child.__name__, bases, {"__doc__": child.__doc__, "__module__": __name__})
        found[f"urn:medinterp:problem:{name}"] = made
    return found


KINDS = _kinds(errors.MedInterpError)
STATUSES: Mapping[int, type[ProblemError]] = {
    401: KeyRefusedError,
    403: ForbiddenError,
    409: ConflictError,
    429: TooManyRequestsError,
}
"""Of problems that have no type of their own."""


def problem_from(status: int, headers: Mapping[str, str], body: bytes | str) -> ProblemError:
    """The exception of an answer that is an error; of one that is no problem document, the status alone is told."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    return problem_of(document if isinstance(document, dict) else {}, status, headers)


def problem_of(document: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> ProblemError:
    """The exception of a problem document; status: where the document tells none."""
    told = document.get("status")
    status = told if isinstance(told, int) else status
    kind = str(document.get("type", "about:blank"))
    fallback = InvalidRequestError if status < 500 else UnavailableError
    chosen = KINDS.get(kind) or STATUSES.get(status, fallback)
    flaws = document.get("flaws")
    return chosen(
        status,
        kind,
        str(document.get("title", "")),
        str(document.get("detail", "the answer is an error without a problem document")),
        tuple(
            Flaw(str(flaw.get("where", "")), str(flaw.get("what", "")))
            for flaw in (flaws if isinstance(flaws, list) else [])
            if isinstance(flaw, dict)
        ),
        str(document.get("request_id") or headers.get("x-request-id") or "") or None,
        retry_after(headers.get("retry-after")),
    )


def retry_after(header: str | None) -> int | None:
    """Seconds of a Retry-After header (RFC 9110, section 10.2.3): a number, or a date; None for neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return int(header)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0, math.ceil((when - datetime.now(UTC)).total_seconds()))
