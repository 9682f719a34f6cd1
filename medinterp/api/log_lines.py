"""What log lines look like: JSON where it is wished, and errors by their places, never by their texts."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from pathlib import PurePath

FACTS = "medinterp"
"""The attribute of a record that holds its facts, for JsonLines."""
FRAMES = 12
"""Of an error's places, the innermost."""


def frames_of(error: BaseException) -> str:
    """Where an error came from, outermost first: "file.py:12 in name", and the same of what caused it.

    Without the error's own text and without source lines' values: a ValueError quotes what it could not read.
    """
    places = [
        f"{PurePath(frame.filename).name}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)[-FRAMES:]
    ]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    told = " > ".join(places) or "no place"
    return told if cause is None else f"{told}; from {type(cause).__name__}: {frames_of(cause)}"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, and the record's facts; an error by its places."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        facts = getattr(record, FACTS, None)
        if isinstance(facts, dict):
            told |= facts
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = type(record.exc_info[1]).__name__
            told["places"] = frames_of(record.exc_info[1])
        return json.dumps(told, default=str)


class OursAsJson(logging.Formatter):
    """Writes our own records as JsonLines and leaves every other one to the formatter that was there."""

    def __init__(self, others: logging.Formatter | None) -> None:
        super().__init__()
        self._ours, self._others = JsonLines(), others or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Write the record."""
        ours = record.name == "medinterp" or record.name.startswith("medinterp.")
        return (self._ours if ours else self._others).format(record)
