"""ETag and If-None-Match (RFC 9110, section 13): a picture that has not changed is not drawn again.

Patients' data lie in no cache: answers say no-store, and an ETag serves programs that keep a picture by themselves and
ask whether it still holds. Where the setting `cache_pictures` allows it, pictures say `private, no-cache` instead: a
browser may then keep them on its disk, and asks before it shows one again, so that of a report that was deleted, or to
somebody else, none is shown.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import Request, Response

import medinterp
from medinterp.api.asked import known
from medinterp.api.store import ReportStore
from medinterp.web.peers import path_of

KEPT = "private, no-cache"


class Validators:
    """Answers with a picture, or with the word that it is the same."""

    def __init__(self, store: ReportStore, *, cached: bool) -> None:
        """cached: whether browsers may keep pictures."""
        self._store = store
        self._headers = {"Cache-Control": KEPT} if cached else {}

    async def answer(
        self, request: Request, report_id: str, make: Callable[[], Awaitable[Response]], media_type: str = ""
    ) -> Response:
        """What `make` answers, with an ETag; 304 without it where the caller has that already.

        media_type: which it is, of an answer that there is in several.
        The report must be there and the caller's: its lifetime begins anew. Raises ReportNotFoundError, StoreError, and
        what `make` raises.
        """
        stamp = await asyncio.to_thread(self._store.touch, known(report_id))
        tag = etag(stamp.version, request, media_type)
        headers = {"ETag": tag, **self._headers}
        if holds(request.headers.get("if-none-match"), tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        response = await make()
        response.headers.update(headers)
        return response


def etag(version: int, request: Request, media_type: str) -> str:
    """By the report's version, what is asked of it, in which encoding, and the program's version.

    Weak: the same picture, and not the same bytes of a compressed answer.
    """
    asked = (version, path_of(request.scope), sorted(request.query_params.multi_items()), media_type)
    return f'W/"{hashlib.sha256(repr((medinterp.__version__, asked)).encode()).hexdigest()[:32]}"'


def holds(if_none_match: str | None, tag: str) -> bool:
    """Whether the header names the tag, by weak comparison. `*` holds for whatever is there."""
    if if_none_match is None:
        return False
    told = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return "*" in told or tag.removeprefix("W/") in told
