"""Ask a service for reports, maps and verdicts from another program: httpx, numpy and msgpack are all it needs.

    import medinterp

    with medinterp.Client("http://127.0.0.1:8000") as client:
        report = client.report("film.dcm")
        word = report.find("effusion")
        report.map(word)                         # float32 [rows, columns]
        report.overlay(word).save("word.png")

Every error is of the tree in medinterp.errors, so that what catches the library's catches the service's.
"""

from __future__ import annotations

from medinterp.client.async_jobs import AsyncRemoteBatch, AsyncRemoteJob
from medinterp.client.asynchronous import AsyncClient, AsyncRemoteReport, AsyncWriting
from medinterp.client.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    KeyRefusedError,
    NotUnderstoodError,
    ProblemError,
    TooManyRequestsError,
    UnavailableError,
    UnreachableError,
)
from medinterp.client.files import File
from medinterp.client.jobs import RemoteBatch, RemoteJob
from medinterp.client.synchronous import Client, RemoteReport, Writing

__all__ = [
    "AsyncClient",
    "AsyncRemoteBatch",
    "AsyncRemoteJob",
    "AsyncRemoteReport",
    "AsyncWriting",
    "Client",
    "ConflictError",
    "File",
    "ForbiddenError",
    "InvalidRequestError",
    "KeyRefusedError",
    "NotUnderstoodError",
    "ProblemError",
    "RemoteBatch",
    "RemoteJob",
    "RemoteReport",
    "TooManyRequestsError",
    "UnavailableError",
    "UnreachableError",
    "Writing",
]
