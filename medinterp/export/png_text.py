"""Text beside a PNG's pixels (PNG specification, 3rd edition, 11.3.3)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_END = len(SIGNATURE) + 4 + 4 + 13 + 4
"""IHDR comes first and has 13 bytes."""


def with_text(png: bytes, lines: Mapping[str, str]) -> bytes:
    """The picture with each line as a text chunk behind its header: tEXt, or iTXt for what Latin-1 has not."""
    chunks = b"".join(_chunk(name, text) for name, text in lines.items())
    return png[:HEADER_END] + chunks + png[HEADER_END:]


def text_of(png: bytes) -> dict[str, str]:
    """The lines that `with_text` wrote."""
    lines = {}
    for kind, content in _chunks(png):
        name, _, rest = content.partition(b"\0")
        if kind == b"tEXt":
            lines[name.decode("latin-1")] = rest.decode("latin-1")
        elif kind == b"iTXt" and rest[:4] == bytes(4):
            lines[name.decode("latin-1")] = rest[4:].decode()
    return lines


def _chunk(name: str, text: str) -> bytes:
    try:
        kind, body = b"tEXt", text.encode("latin-1")
    except UnicodeEncodeError:
        # neither compressed nor translated, of no language
        kind, body = b"iTXt", bytes(4) + text.encode()
    content = kind + name.encode("latin-1") + b"\0" + body
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        yield png[place + 4 : place + 8], png[place + 8 : place + 8 + length]
        place += length + 12
