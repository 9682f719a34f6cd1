"""RFC 9457 problem documents: what every error of the API looks like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from medinterp import errors
from medinterp.web.request_id import REQUEST_ID

MEDIA_TYPE = "application/problem+json"

STATUS: Mapping[type[errors.MedInterpError], HTTPStatus] = {
    errors.UnreadableFilmError: HTTPStatus.BAD_REQUEST,
    errors.UnsupportedFilmError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.FilmTooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.FilmShapeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NoPictureError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.FilmWithheldError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.FilmError: HTTPStatus.BAD_REQUEST,
    errors.PromptError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ReportTextError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RequestTooLargeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownModelError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ModelBrokenError: HTTPStatus.BAD_GATEWAY,
    errors.ModelGoneError: HTTPStatus.CONFLICT,
    errors.ModelError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.MethodError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.SelectionError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ExportError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.GenerationCancelled: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ReportNotFoundError: HTTPStatus.NOT_FOUND,
    errors.RecordNotFoundError: HTTPStatus.NOT_FOUND,
    errors.RecordConflictError: HTTPStatus.CONFLICT,
    errors.StoreFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.RecordNotFoundError: HTTPStatus.NOT_FOUND,
    errors.RecordConflictError: HTTPStatus.CONFLICT,
    errors.StoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AccessError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.EngineError: HTTPStatus.BAD_GATEWAY,
    errors.DeadlineExceededError: HTTPStatus.GATEWAY_TIMEOUT,
    errors.JobNotFoundError: HTTPStatus.NOT_FOUND,
    errors.JobAbandonedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.JobError: HTTPStatus.CONFLICT,
    errors.ServiceError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.MedInterpError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each error; a class that is missing has its parent's."""

RETRY_AFTER_S = 2
"""Recovery of a killed replica takes two to four seconds with the health checks of serve_config.yaml."""


QUOTED_CHARACTERS = 100
"""Of a client's own text, the most that an answer repeats."""
DETAIL_CHARACTERS = 600
"""Of a whole detail: ours are shorter, so that what is longer quotes somebody in a way that is not seen."""
MAX_FLAWS = 20
_LONG = re.compile(
    rf"""
    (?<!\w)'(?:[^'\\]|\\.){{{QUOTED_CHARACTERS},}}(?:'|$)    # as repr quotes; an apostrophe follows a letter
    | (?<!\w)"(?:[^"\\]|\\.){{{QUOTED_CHARACTERS},}}(?:"|$)
    | \S{{{QUOTED_CHARACTERS + 1},}}
    """,
    re.DOTALL | re.VERBOSE,
)


def shortened(text: str, most: int = DETAIL_CHARACTERS) -> str:
    """The text with each long quotation and each long run without a space cut in its middle, and cut as a whole."""

    def cut(found: re.Match[str]) -> str:
        half = QUOTED_CHARACTERS // 2 - 5
        return f"{found[0][:half]} [...] {found[0][-half:]}"

    text = _LONG.sub(cut, text[: 8 * DETAIL_CHARACTERS])
    return text if len(text) <= most else f"{text[: most - 6]} [...]"


class Flaw(BaseModel):
    """One thing that is wrong with the request: where, and what. Never the value itself."""

    model_config = ConfigDict(extra="forbid")

    where: str
    what: str

    @field_validator("where")
    @classmethod
    def short_place(cls, where: str) -> str:
        """A field's name may be the client's."""
        return shortened(where, QUOTED_CHARACTERS)

    @field_validator("what")
    @classmethod
    def no_long_quotation(cls, what: str) -> str:
        """As `Problem.detail`."""
        return shortened(what)


class Problem(BaseModel):
    """A problem document (RFC 9457, section 3)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="urn:medinterp:problem:NAME, stable; NAME is the error's.")
    title: str
    status: int
    detail: str
    flaws: tuple[Flaw, ...] = ()
    request_id: str | None = Field(
        default_factory=lambda: REQUEST_ID.get(), description="The answer's X-Request-ID: by it the log tells more."
    )
    _retry_after_s: int | None = PrivateAttr(None)

    @field_validator("detail")
    @classmethod
    def no_long_quotation(cls, detail: str) -> str:
        """Whatever an error's text quotes of the request is short here."""
        return shortened(detail)

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After where the same request may succeed later."""
        busy = self.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
        wait_s = RETRY_AFTER_S if busy and self._retry_after_s is None else self._retry_after_s
        return {} if wait_s is None else {"Retry-After": str(wait_s)}


def status_of(kind: type[errors.MedInterpError]) -> HTTPStatus:
    """The status of an error class: its own or its nearest parent's."""
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def tree_class(error: errors.MedInterpError) -> type[errors.MedInterpError]:
    """The error's class in medinterp.errors; another process may have wrapped it in one of its own."""
    return next(parent for parent in type(error).__mro__ if parent.__module__ == errors.__name__)


def problem_of(error: errors.MedInterpError) -> Problem:
    """The problem document of an error raised on purpose; the error's own text is the detail."""
    kind = tree_class(error)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower()
    title = (kind.__doc__ or kind.__name__).strip().splitlines()[0]
    flaws: tuple[Flaw, ...] = ()
    if isinstance(error, errors.FilmWithheldError):
        flaws = tuple(Flaw(where=f"{error.film}.{warning.code}", what=warning.text) for warning in error.warnings)
    problem = Problem(
        type=f"urn:medinterp:problem:{name}",
        title=title,
        status=int(status_of(kind)),
        detail=str(error) or title,
        flaws=flaws,
    )
    if isinstance(error, errors.ServiceBusyError | errors.JobNotEndedError | errors.RequestRunningError):
        problem._retry_after_s = error.retry_after_s
    return problem


def problem_of_status(status: int, detail: str | None = None, flaws: tuple[Flaw, ...] = ()) -> Problem:
    """The problem document of a bare HTTP status, e.g. a path that does not exist."""
    phrase = HTTPStatus(status).phrase
    return Problem(type="about:blank", title=phrase, status=status, detail=detail or phrase, flaws=flaws)
