"""Blobs with parts: what several reports may have in common stands apart, so that a store keeps it once.

A blob with parts is MAGIC, how many parts (1 byte), the lengths of body and parts (8 bytes each, big-endian), and then
these themselves. Any other blob is a body without parts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgpack

from medinterp.errors import StoreError

MAGIC = b"MIRP1"
_COUNT = len(MAGIC)
_LENGTHS = _COUNT + 1


def join_parts(body: bytes, parts: Sequence[bytes]) -> bytes:
    """Put body and parts into one blob."""
    lengths = struct.pack(f">{1 + len(parts)}Q", len(body), *map(len, parts))
    return b"".join((MAGIC, bytes([len(parts)]), lengths, body, *parts))


def split_parts(blob: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """Take a blob apart again. Raises StoreError for one that was cut or added to."""
    if not blob.startswith(MAGIC):
        return blob, ()
    try:
        lengths = struct.unpack_from(f">{1 + blob[_COUNT]}Q", blob, _LENGTHS)
    except (IndexError, struct.error) as error:
        raise StoreError("the stored report is cut off") from error
    start = _LENGTHS + 8 * len(lengths)
    if start + sum(lengths) != len(blob):
        raise StoreError("the stored report is cut off, or something was added to it")
    found = []
    for length in lengths:
        found.append(blob[start : start + length])
        start += length
    return found[0], tuple(found[1:])


def pack_body(body: bytes, names: Sequence[str]) -> bytes:
    """The body as a store keeps it, with the names of the parts that it keeps apart."""
    packed: bytes = msgpack.packb([list(names), body], use_bin_type=True)
    return packed


def unpack_body(packed: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Take it apart again: the body, and the names of its parts. Raises StoreError."""
    try:
        names, body = msgpack.unpackb(packed, raw=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise StoreError("the stored report cannot be read by this version") from error
    return body, tuple(names)
