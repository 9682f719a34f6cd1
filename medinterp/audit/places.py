"""Where films and tables lie: a folder of this machine, or one of an object store, by pyarrow's file systems."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import fs

from medinterp.errors import DatasetError


@dataclass(frozen=True)
class Place:
    """A folder or a file: path on a file system of pyarrow; scheme: "file", "s3", "gs", ..."""

    filesystem: Any
    path: str
    scheme: str = "file"

    def below(self, name: str) -> str:
        """The path of a file or folder in it."""
        return f"{self.path}/{name}" if self.path else name

    def read(self, name: str) -> bytes:
        """All of a file in it. Raises OSError."""
        with self.filesystem.open_input_file(self.below(name)) as file:
            return bytes(file.read())

    def write(self, name: str, data: bytes) -> None:
        """Write a file in it; the folder is made."""
        where = self.below(name)
        self.filesystem.create_dir(where.rpartition("/")[0], recursive=True)
        with self.filesystem.open_output_stream(where) as file:
            file.write(data)


def place_of(where: Any) -> Place:
    """The place that a path or a URI (file://, s3://, gs://, ...) names, or the Place that it is.

    Raises DatasetError for a URI that no file system is for.
    """
    if isinstance(where, Place):
        return where
    text = os.fspath(where)
    scheme, colon, _ = text.partition("://")
    if not colon:
        return Place(fs.LocalFileSystem(), os.path.abspath(text))
    # A file that fits into one request is written by one, where Arrow would begin a transfer in parts.
    delayed = f"{'&' if '?' in text else '?'}allow_delayed_open=true" if scheme == "s3" else ""
    try:
        filesystem, path = fs.FileSystem.from_uri(text + delayed)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DatasetError(f"{scheme}:// cannot be used here: {error}") from error
    return Place(filesystem, path.rstrip("/"), scheme)
