"""Films inside JSON, as data URLs (RFC 2397): taken out before the JSON is parsed, for they are nearly all of it.

A parser holds the interpreter until it is done with its text; one with 80 MB to look at would keep everybody waiting. A
film is found by two searches for a byte and decoded piece by piece; what is left to parse is small, and limited.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException

OPENING = b'"data:'
LONG_BYTES = 2**12
"""Shorter ones stay where they are."""
PIECE = 2**22
"""Characters decoded at once; a multiple of four, as base64 is."""
HEAD_BYTES = 256
_HEAD = re.compile(rb"data:[A-Za-z0-9.+-]*/?[A-Za-z0-9.+-]*(?:;[A-Za-z0-9=.+-]*)*;base64,")


def taken_out(body: bytes | bytearray, limit: int) -> tuple[bytes, dict[str, bytes]]:
    """JSON without its long data URLs: what stands in their place, and the URLs by that.

    Raises HTTPException 413 when more than `limit` bytes are left.
    """
    mark = secrets.token_hex(16)  # nobody can have written it into a request
    urls: dict[str, bytes] = {}
    rest, place = bytearray(), 0
    while (start := body.find(OPENING, place)) >= 0:
        end = body.find(b'"', start + 1)
        if end < 0:
            break
        if end - start < LONG_BYTES or _escaped(body, start):
            rest += body[place : start + 1]  # past the quotation mark
            place = start + 1
            continue
        name = f"data:{mark}-{len(urls)}"
        urls[name] = bytes(body[start + 1 : end])
        rest += body[place : start + 1] + name.encode()
        place = end
    if len(rest) + len(body) - place > limit:
        told = f"the request is longer than {limit} bytes beside its films"
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told)
    rest += body[place:]
    return bytes(rest), urls


def _escaped(body: bytes | bytearray, quotation_mark: int) -> bool:
    """Whether a quotation mark stands inside a string."""
    before = quotation_mark
    while before and body[before - 1 : before] == b"\\":
        before -= 1
    return (quotation_mark - before) % 2 == 1


def film_of(url: str, urls: Mapping[str, bytes], limit: int) -> bytes:
    """The bytes of a data URL, or of the one that was taken out in its place; their media type is not looked at.

    Raises ValueError for any other URL and for what is no base64; HTTPException 413 for more than `limit` bytes.
    """
    if not url.startswith("data:"):
        raise ValueError("nothing is fetched for a client: send the film itself, as data:image/png;base64,...")
    raw = urls.get(url)
    if raw is None:
        raw = url.encode()
    elif b"\\" in raw:
        raw = raw.replace(b"\\/", b"/")  # as some writers of JSON do with every slash
    head = _HEAD.match(raw[:HEAD_BYTES])
    if head is None:
        raise ValueError("a film's data URL begins with data:MEDIA/TYPE;base64,")
    data = memoryview(raw)[head.end() :]
    if len(data) > (limit + 2) // 3 * 4:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a film of more than {limit} bytes")
    if len(data) % 4:
        raise ValueError("the data URL of a film is no base64")
    film = bytearray()
    for start in range(0, len(data), PIECE):
        piece = data[start : start + PIECE]
        try:
            film += binascii.a2b_base64(piece, strict_mode=True)
        except binascii.Error:
            raise ValueError("the data URL of a film is no base64") from None
        if len(film) % 3 and start + PIECE < len(data):
            raise ValueError("the data URL of a film goes on after its end")
    return bytes(film)
