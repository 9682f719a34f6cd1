"""Which encoding the caller wants (RFC 9110, section 12.5.1), and writing a model in it."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
from pydantic import BaseModel

JSON = "application/json"
MSGPACK = "application/msgpack"
NPZ = "application/x-npz"
EVENTS = "text/event-stream"


def preferred(accept: str | None, offered: Sequence[str]) -> str | None:
    """The offered media type that the Accept header likes best; the first offered wins a tie.

    None when the header excludes all of them. No header means anything goes.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_parse(part) for part in accept.split(",")]
    best = max(offered, key=lambda media_type: _quality(media_type, ranges))
    return best if _quality(best, ranges) > 0 else None


def _parse(part: str) -> tuple[str, float]:
    """One media range and its q; a q that is not a number counts as 0."""
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return media_range, float(value)
            except ValueError:
                return media_range, 0.0
    return media_range, 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """The q of the most specific range that covers the media type, 0 when none does."""
    patterns = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    for pattern in patterns:
        for media_range, quality in ranges:
            if media_range == pattern:
                return quality
    return 0.0


def encode(model: BaseModel, media_type: str) -> bytes:
    """Write the model as JSON or msgpack: the same fields, arrays as base64 or bin."""
    if media_type == JSON:
        return model.model_dump_json().encode()
    if media_type != MSGPACK:
        raise ValueError(f"{media_type} is not an encoding of the schema")
    packed: bytes = msgpack.packb(model.model_dump(mode="python"), use_bin_type=True)
    return packed
