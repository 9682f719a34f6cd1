"""Who read which report when: one JSON line a reading, in a file of its own, never a word of the report.

    {"time": "2026-08-01T12:00:00.123456+00:00", "request": "…", "who": "reading-room", "address": "10.0.0.7",
     "did": "read", "report": "32 hexadecimal digits", "call": "GET /reports/{report_id}/maps"}

did: made, read, changed or deleted. An audit log that loses lines is none: what cannot be written down is not done,
and the caller gets a 503. The line comes first: one whose answer then failed on its way is in the log all the same.
Only ever appended to; logrotate may move the file away, and the next line opens a new one.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from medinterp.api.access.principal import Visit
from medinterp.errors import AuditError
from medinterp.web.request_id import REQUEST_ID

logger = logging.getLogger(__name__)

Action = Literal["made", "read", "changed", "deleted"]
TELL = "the audit log cannot be written, and nothing is shown that is not written down there"


class AuditLog:
    """The file. Several processes may append to the same one; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """Open it, only its owner can read it. Raises AuditError."""
        self._path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._torn = False
        with self._lock:
            self._open()

    def tell(self, visit: Visit, action: Action, report_id: str) -> None:
        """Write one line to the disk, once a visit. Raises AuditError."""
        if (action, report_id) in visit.told:
            return
        line = json.dumps(
            {
                "time": datetime.now(UTC).isoformat(timespec="microseconds"),
                "request": REQUEST_ID.get(),
                "who": visit.name,
                "address": visit.address,
                "did": action,
                "report": report_id,
                "call": f"{visit.scope['method']} {visit.route}",
            }
        )
        with self._lock:
            self._write(line)
        visit.told.add((action, report_id))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._close()

    def _write(self, line: str) -> None:
        try:
            file = self._reopened()
            # A line that was cut off by a full disk is ended first, so that this one is whole.
            data = (("\n" if self._torn else "") + line + "\n").encode()
            self._torn = os.write(file, data) < len(data)
            if self._torn:
                raise OSError("cut off")
            os.fsync(file)
        except OSError as error:
            logger.error("the audit log cannot be written: %s", error.strerror or "no room")
            raise AuditError(TELL) from None

    def _reopened(self) -> int:
        """The file under the path: a new one where it was moved away."""
        if self._file is not None:
            mine = os.fstat(self._file)
            try:
                there = os.stat(self._path)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return self._file
            self._close()
        return self._open()

    def _open(self) -> int:
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AuditError(f"the audit log {self._path} cannot be opened: {error.strerror}") from error
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file, self._torn = None, False
