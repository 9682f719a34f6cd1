"""Files of sealed bytes beside the index: written once, overwritten and unlinked when they go.

Films, reports and records stand here and nowhere else, so that forgetting one is done when its file is gone,
whatever the index's own log still holds, and needs no room on the disk.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

from medinterp.errors import StoreError, StoreFullError

RESERVE = "reserve"
RESERVE_BYTES = 2**18
"""Kept free for the index's own log: on a full disk it is given back, so that a report can be deleted there."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ZEROS = bytes(2**16)


class Payloads:
    """A directory (0700) of such files (0600), named at random."""

    def __init__(self, directory: Path) -> None:
        """The directory is there already, and private."""
        self._directory = directory

    def write(self, content: bytes) -> str:
        """Write a new file, down to the disk, and return its name. Raises StoreFullError or StoreError."""
        name = secrets.token_hex(16)
        try:
            self._write(name, lambda descriptor: _write_all(descriptor, content))
        except OSError as error:
            with suppress(OSError):
                (self._directory / name).unlink()
            raise _store_error(error) from error
        return name

    def read(self, name: str) -> bytes:
        """The file's bytes. Raises FileNotFoundError or StoreError."""
        try:
            return (self._directory / name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _store_error(error) from error

    def has(self, name: str) -> bool:
        """Whether the file is there."""
        return (self._directory / name).exists()

    def destroy(self, names: Iterable[str]) -> None:
        """Overwrite files with zeros and unlink them; one that is gone already is left. Raises StoreError.

        A file system that copies what it writes may have no room to overwrite: then the file is unlinked only.
        """
        for name in names:
            path = self._directory / name
            try:
                with suppress(OSError):
                    _overwrite(path)
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _store_error(error) from error

    def sweep(self, known: Collection[str]) -> int:
        """Destroy files that the index does not know: a process was killed while it wrote. Returns how many."""
        strange = [name for name in os.listdir(self._directory) if name not in known and name != RESERVE]
        self.destroy(strange)
        return len(strange)

    def free(self) -> int:
        """Bytes that may still be written to the disk, without the reserve. Raises StoreError."""
        try:
            return shutil.disk_usage(self._directory).free
        except OSError as error:
            raise _store_error(error) from error

    def hold_reserve(self) -> None:
        """Take the reserve where it is not taken; it stays away where there is no room for it."""
        path = self._directory / RESERVE
        try:
            if path.stat().st_size == RESERVE_BYTES:
                return
        except FileNotFoundError:
            pass
        self.release_reserve()
        try:
            self._write(RESERVE, lambda descriptor: _write_all(descriptor, bytes(RESERVE_BYTES)))
        except OSError as error:
            self.release_reserve()
            if error.errno not in (*_FULL, errno.EEXIST):  # another process takes it just now
                raise _store_error(error) from error

    def release_reserve(self) -> None:
        """Give the reserve back to the disk."""
        (self._directory / RESERVE).unlink(missing_ok=True)

    def _write(self, name: str, fill: Callable[[int], None]) -> None:
        descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            fill(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _overwrite(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        left = os.fstat(descriptor).st_size
        while left > 0:
            left -= os.write(descriptor, _ZEROS[:left])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _store_error(error: OSError) -> StoreError:
    if error.errno in _FULL:
        return StoreFullError("the disk that holds the report store is full")
    return StoreError(f"the report store's files cannot be used: {error.strerror}")
