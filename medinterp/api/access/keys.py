"""API keys: random, shown once, kept as hashes in one file that is read again when it changes.

A key is 256 random bits, so its plain SHA-256 is right here: nobody can try out 2**256 keys, and what slows guessing
down (bcrypt, Argon2) would only slow each request. Passwords, which people choose, would need it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
import threading
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from medinterp.api.access.principal import Principal
from medinterp.api.access.settings import Scope
from medinterp.errors import AccessError

PREFIX = "mi_"
"""So that a key is known for one where it should not stand: in a repository, in a chat."""
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class KeyEntry(BaseModel):
    """One key: what it is called and may do. sha256: of the whole key, PREFIX included, in hexadecimal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = Field(min_length=1)
    per_minute: float | None = Field(default=None, gt=0, description="Requests; the settings' by default.")
    burst: int | None = Field(default=None, ge=1)

    def principal(self) -> Principal:
        """What the key stands for. Its reports are its name's: a new key of the same name sees them."""
        return Principal(
            self.name, f"key:{self.name}", frozenset(self.scopes), per_minute=self.per_minute, burst=self.burst
        )


class KeyList(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[KeyEntry, ...] = ()

    @field_validator("keys")
    @classmethod
    def names_differ(cls, keys: tuple[KeyEntry, ...]) -> tuple[KeyEntry, ...]:
        """Refuse two keys of one name, which would share their reports."""
        if len({key.name for key in keys}) < len(keys):
            raise ValueError("two keys have the same name")
        return keys


def new_key() -> str:
    """Draw a key: 256 bits from the system's source of randomness."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> str:
    """What stands in the file in place of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> KeyList:
    """Read the file. Raises AccessError when it cannot be read, is no such file, or everybody may write it."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise AccessError(f"{path} can be written by everybody on this machine: chmod o-w")
            return KeyList.model_validate(json.load(file))
    except OSError as error:
        raise AccessError(f"the keys in {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise AccessError(f"{path} holds no list of keys: {where}: {first['msg']}") from None
    except ValueError:
        raise AccessError(f"{path} holds no list of keys: it is not JSON") from None


def write_keys(path: Path, keys: KeyList) -> None:
    """Put the list in the file's place, as one step; only its owner can read it. Raises AccessError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(keys.model_dump_json(indent=2, exclude_none=True) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise AccessError(f"{path} cannot be written: {error.strerror}") from error


class Keys:
    """The keys of a file; what is changed there holds from the next request on. Safe to use from several threads.

    A file that cannot be read any more lets nobody in: a key that was taken out must not go on to hold.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises AccessError."""
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._keys = KeyList()
        self._current()

    def find(self, key: str) -> Principal | None:
        """What a key stands for, None when it is unknown. Every hash is compared, each in constant time.

        Raises AccessError when the file cannot be read.
        """
        asked, found = hash_of(key), None
        for entry in self._current().keys:
            if hmac.compare_digest(entry.sha256, asked):
                found = entry
        return None if found is None else found.principal()

    def named(self, name: str, sha256: str) -> Principal | None:
        """What the key of a name stands for, as long as it has that hash. Raises AccessError."""
        for entry in self._current().keys:
            if entry.name == name and hmac.compare_digest(entry.sha256, sha256):
                return entry.principal()
        return None

    def _current(self) -> KeyList:
        with self._lock:
            try:
                now = self._path.stat()
            except OSError as error:
                self._seen = None
                raise AccessError(f"the keys in {self._path} cannot be read: {error.strerror}") from error
            seen = (now.st_ino, now.st_mtime_ns, now.st_size, now.st_mode)
            if seen != self._seen:
                self._seen = None
                self._keys = read_keys(self._path)
                self._seen = seen
            return self._keys
