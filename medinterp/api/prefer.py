"""Headers by which a caller says how a request is to be answered: Prefer (RFC 7240) and Idempotency-Key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException

from medinterp.web.peers import path_of

RESPOND_ASYNC = "respond-async"
APPLIED = {"Preference-Applied": RESPOND_ASYNC}
_KEY = re.compile(r'"?([\x21\x23-\x7e]{1,200})"?')


def prefers_job(request: Request) -> bool:
    """Whether the work is to be done as a job: `Prefer: respond-async`. Other preferences are not heeded."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(one.partition(";")[0].strip().lower() == RESPOND_ASYNC for one in preferences)


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, with or without the quotes of a structured field.

    Raises HTTPException 400 for one that is empty, longer than 200 characters, not plain ASCII, or given twice.
    """
    told = request.headers.getlist("idempotency-key")
    if not told:
        return None
    found = _KEY.fullmatch(told[0].strip()) if len(told) == 1 else None
    if found is None:
        raise HTTPException(
            HTTPStatus.BAD_REQUEST, "an Idempotency-Key is 1 to 200 characters of ASCII without spaces or quotes, once"
        )
    return found[1]


def form_digest(form: FormData) -> bytes:
    """What of a form makes it this one: names and contents in their order, not the boundary and the files' names."""
    digest = hashlib.sha256()
    for name, part in form.multi_items():
        content = _content(part) if isinstance(part, UploadFile) else part.encode()
        for piece in (name.encode(), content):
            digest.update(len(piece).to_bytes(8, "big"))
            digest.update(piece)
    return digest.digest()


def _content(part: UploadFile) -> bytes:
    part.file.seek(0)
    content = part.file.read()
    part.file.seek(0)
    return content


def digest_of(key: str, parts: Iterable[bytes]) -> str:
    """Tells requests under one key apart; without the key nobody can try which film it is of."""
    digest = hmac.new(key.encode(), digestmod=hashlib.sha256)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def link(request: Request, place: str) -> str:
    """A place below the API's root as seen from this request: a proxy may have put both below another path."""
    return "../" * (path_of(request.scope).strip("/").count("/")) + place
