"""A process that decodes films, one after the other: `python -m medinterp.imaging.worker PARENT MEMORY READER`.

Started and spoken to by medinterp.imaging.worker_process (messages as in worker_messages, jobs on standard input,
answers on standard output). PARENT: the process that started it; MEMORY: bytes that it may take beyond what it has
once everything is imported; READER: module:function with the signature of imaging.read_film.

A job that needs more memory raises MemoryError, one that computes for too long is ended by the system (SIGXCPU), and
nothing can be written to any file (RLIMIT_FSIZE): whatever a decoder does, no part of an upload reaches a disk.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from medinterp.imaging.broken import lacks_memory, too_much_memory
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.worker_messages import LENGTH_BYTES, error_header, film_header, framed, parsed
from medinterp.types import Film

NICENESS = 10
"""Decoding stands back behind the service's answers."""
USED_EARLY = ("medinterp.imaging.dicom", "gdcm", "openjpeg", "jpeg_ls")
"""What the first film would otherwise wait for; decoders that are not installed are left out."""
KEPT_BYTES = 64 * 2**20
"""Memory that a worker may keep after a job before another takes its place, or a quarter of MEMORY if that is more."""

PR_SET_PDEATHSIG = 1
Reader = Callable[..., Film]


def main(arguments: list[str]) -> int:
    """Decode until the parent closes standard input."""
    parent, memory_bytes, reader_name = int(arguments[0]), int(arguments[1]), arguments[2]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all; the parent ends this one
    _end_with(parent)
    jobs = sys.stdin.buffer
    # Libraries print to standard output; the answers get a descriptor that nobody knows.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    reader = _prepared(reader_name)
    before = _restricted(memory_bytes)
    answers.write(framed({"bytes": 0, "ready": True}))
    kept = max(KEPT_BYTES, memory_bytes // 4)
    while job := _next_job(jobs):
        header, pixels = _answered(reader, *job)
        del job
        header["spent"] = spent = _address_space() > before + kept
        _write(answers, framed(header))
        _write(answers, pixels)
        del pixels
        if spent:
            break
    return 0


def _end_with(parent: int) -> None:
    """End when the thread that started this process does (Linux); elsewhere the closed pipe ends it after the job."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # gone already
        raise SystemExit(0)


def _prepared(name: str) -> Reader:
    """The function that reads films, with everything imported that it will use."""
    module, _, function = name.partition(":")
    reader: Reader = getattr(importlib.import_module(module), function)
    for used in USED_EARLY:
        with suppress(ImportError):
            importlib.import_module(used)
    import cv2

    cv2.setNumThreads(1)
    return reader


def _restricted(memory_bytes: int) -> int:
    """Set the limits that hold for every job; returns the bytes of address space that are taken before the first."""
    os.nice(NICENESS)
    before = _address_space()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if before:
        resource.setrlimit(resource.RLIMIT_AS, (before + memory_bytes, before + memory_bytes))
    return before


def _address_space() -> int:
    """Bytes of this process's address space, 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _next_job(jobs: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """The next job and its file; None when there are no more."""
    length = jobs.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    header = parsed(jobs.read(int.from_bytes(length, "big")))
    data = jobs.read(header["bytes"])
    return (header, data) if len(data) == header["bytes"] else None


def _answered(reader: Reader, job: dict[str, Any], data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The answer's header, and the film's pixels as bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime) + job["cpu_s"]
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    try:
        film = reader(data, limits=FilmLimits(**job["limits"]), window=job["window"])
        return film_header(film), film.pixels.data.cast("B")
    except Exception as error:  # whatever a decoder raises over a stranger's bytes: the parent is told of its class
        return error_header(too_much_memory("film") if lacks_memory(error) else error), memoryview(b"")


def _write(answers: Any, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[answers.write(left) :]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
