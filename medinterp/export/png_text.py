"""Text beside a PNG's pixels (PNG specification, 3rd edition, 11.3.3)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 4 + 4 + 13 + 4
"""IHDR comes first and has 13 bytes."""


def with_text(png: bytes, lines: Mapping[str, str]) -> bytes:
    """The picture with each line as a text chunk behind its header: tEXt, or iTXt for what Latin-1 has not."""
    chunks = b"".join(_chunk(name, text) for name, text in lines.items())
    return png[:HEADER_END] + chunks + png[HEADER_END:]


def _chunk(name: str, text: str) -> bytes:
    try:
        kind, body = b"tEXt", text.encode("latin-1")
    except UnicodeEncodeError:
        # neither compressed nor translated, of no language
        kind, body = b"iTXt", bytes(4) + text.encode()
    content = kind + name.encode("latin-1") + b"\0" + body
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
