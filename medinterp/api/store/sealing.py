"""What stands on the disk or in Redis: sealed bytes, encrypted where there is a key, and tied to where they belong.

Without a key: b"P", a BLAKE2b digest (16 bytes) of place and content, the content. With keys: b"E", the key's id
(8 bytes), a random nonce (12 bytes), and AES-256-GCM (NIST SP 800-38D) of the content, whose associated data is the
place. Either way bytes that were moved to another place, cut, or overwritten while they were read, are not taken.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from pathlib import Path
from typing import Protocol

from medinterp.errors import StoreError

KEY_BYTES = 32
_PLAIN, _ENCRYPTED = b"P", b"E"
_DIGEST, _KEY_ID, _NONCE = 16, 8, 12


class DamagedError(StoreError):
    """Sealed bytes are not what was sealed, or not from this place."""


class MissingKeyError(StoreError):
    """Sealed bytes were encrypted with a key that is not here."""


class Sealer(Protocol):
    """Seals and opens; `place` is what the bytes are bound to, e.g. the report's id."""

    encrypts: bool

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Seal the content for a place."""
        ...

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Return the content. Raises DamagedError or MissingKeyError."""
        ...

    def first(self, sealed: bytes) -> bool:
        """Whether it is sealed as this sealer would now."""
        ...

    def name(self, content: bytes, owner: str | None) -> str:
        """The name by which this owner's content is found again: 64 hexadecimal digits."""
        ...


class PlainSealer:
    """Without a key: a digest alone."""

    encrypts = False

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Put the digest before the content."""
        return b"".join((_PLAIN, _digest(content, place), content))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Hold the content against its digest."""
        if sealed[:1] == _ENCRYPTED:
            raise MissingKeyError("the store is encrypted: name its key by encryption_key_file")
        content = sealed[1 + _DIGEST :]
        if sealed[:1] != _PLAIN or sealed[1 : 1 + _DIGEST] != _digest(content, place):
            raise DamagedError("what the store holds is not what was put there")
        return content

    def first(self, sealed: bytes) -> bool:
        """Not encrypted."""
        return sealed[:1] == _PLAIN

    def name(self, content: bytes, owner: str | None) -> str:
        """SHA-256."""
        digest = hashlib.sha256(_place("name", owner))
        digest.update(content)
        return digest.hexdigest()


class KeySealer:
    """With keys: the first one encrypts, all decrypt."""

    encrypts = True

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        """keys: 32 bytes each, at least one."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._ciphers = {_key_id(key): AESGCM(key) for key in reversed(keys)}
        self._first = _key_id(keys[0])
        self._naming = hashlib.sha256(b"medinterp store, names of parts\0" + keys[0]).digest()

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Encrypt with the first key."""
        nonce = os.urandom(_NONCE)
        return b"".join((_ENCRYPTED, self._first, nonce, self._ciphers[self._first].encrypt(nonce, content, place)))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Decrypt with the key that it names. What is not encrypted is not taken: anybody could have put it there."""
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != _ENCRYPTED:
            raise DamagedError("what the store holds is not encrypted")
        cipher = self._ciphers.get(sealed[1 : 1 + _KEY_ID])
        if cipher is None:
            raise MissingKeyError("what the store holds was encrypted with a key that encryption_key_file has not")
        start = 1 + _KEY_ID + _NONCE
        try:
            return cipher.decrypt(sealed[1 + _KEY_ID : start], sealed[start:], place)
        except (InvalidTag, ValueError) as error:
            raise DamagedError("what the store holds is not what was put there") from error

    def first(self, sealed: bytes) -> bool:
        """By the first key."""
        return sealed[: 1 + _KEY_ID] == _ENCRYPTED + self._first

    def name(self, content: bytes, owner: str | None) -> str:
        """HMAC-SHA-256 under a key of its own, so that who has the film cannot tell whether it is kept here."""
        digest = hmac.new(self._naming, _place("name", owner), hashlib.sha256)
        digest.update(content)
        return digest.hexdigest()


def open_sealer(key_file: str | None) -> Sealer:
    """The sealer of the settings.

    key_file: base64 of 32 random bytes a line (`openssl rand -base64 32`); empty lines and those after # are left out.
    Raises StoreError for a file that cannot be read or holds something else; its content is never in the text.
    """
    if key_file is None:
        return PlainSealer()
    path = Path(key_file).expanduser()
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise StoreError(f"encryption_key_file {path} cannot be read: {reason}") from error
    keys = tuple(
        _key(line.strip(), path, number)
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    )
    if not keys:
        raise StoreError(f"encryption_key_file {path} holds no key; make one by `openssl rand -base64 32`")
    return KeySealer(keys)


def _key(line: str, path: Path, number: int) -> bytes:
    try:
        key = base64.b64decode(line.replace("-", "+").replace("_", "/"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise StoreError(
            f"encryption_key_file {path}, line {number}: not base64 of {KEY_BYTES} bytes; "
            "make a key by `openssl rand -base64 32`"
        )
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"medinterp store, key id\0" + key).digest()[:_KEY_ID]


def _digest(content: bytes, place: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST, key=hashlib.blake2b(place, digest_size=32).digest()).digest()


def report_place(report_id: str, owner: str | None) -> bytes:
    """What a report's bytes are bound to."""
    return _place("report", report_id, owner)


def part_place(name: str) -> bytes:
    """The same of a part that reports have in common."""
    return _place("part", name)


def record_place(kind: str, record_id: str, owner: str | None, version: int) -> bytes:
    """The same of a record: an earlier version is not taken for a later one."""
    return _place("record", kind, record_id, owner, str(version))


def _place(*names: str | None) -> bytes:
    # Lengths keep ("a", "bc") and ("ab", "c") apart; None is told from "".
    return b"".join(b"-" if name is None else b"%d:%s" % (len(name.encode()), name.encode()) for name in names)
