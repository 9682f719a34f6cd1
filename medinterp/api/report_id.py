"""Report ids: 128 random bits, written as 32 hexadecimal digits."""

from __future__ import annotations

import re
import secrets

_PATTERN = re.compile(r"[0-9a-f]{32}")


def new_report_id() -> str:
    """Draw a new id from the system's source of randomness."""
    return secrets.token_hex(16)


def is_report_id(text: str) -> bool:
    """Whether the text is written as an id; nothing is said about the report's existence."""
    return _PATTERN.fullmatch(text) is not None


def log_name(report_id: str) -> str:
    """The part of an id that may stand in a log: too short to read the report with."""
    return report_id[:8]
