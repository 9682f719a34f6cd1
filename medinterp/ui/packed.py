"""A document compressed once for all who ask for it."""

from __future__ import annotations

import gzip
import re

import brotli

_REFUSED = re.compile(r";\s*q=0(?:\.0*)?\s*$")


class Packed:
    """The bytes of a document as they are, in gzip and in brotli."""

    def __init__(self, content: bytes) -> None:
        self._plain = content
        self._packed = {"br": brotli.compress(content, quality=11), "gzip": gzip.compress(content, 9, mtime=0)}

    def best(self, accepted: str) -> tuple[str, bytes]:
        """The smallest that an Accept-Encoding header takes: ("br", bytes), ("gzip", bytes) or ("", bytes)."""
        offers = [part.strip().lower() for part in accepted.split(",")]
        named = {part.partition(";")[0].strip() for part in offers if not _REFUSED.search(part)}
        for name, content in self._packed.items():
            if name in named:
                return name, content
        return "", self._plain
