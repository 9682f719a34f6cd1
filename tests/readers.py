"""What a decoding worker can be given in place of imaging.read_film: does what the file's first word says."""

from __future__ import annotations

import ctypes
import os
import resource
import tempfile
import time
from typing import Any

import cv2
import numpy as np

from medinterp.errors import NoPictureError, SelectionError
from medinterp.imaging import FilmLimits
from medinterp.types import Film, FilmWarning, WindowChoice

READER = "tests.readers:read"
PATIENT = "MILLER^ANNA"


def film(*notes: str) -> Film:
    """A small film that carries everything a film can."""
    return Film(
        pixels=np.arange(12, dtype=np.uint16).reshape(3, 4),
        media_type="application/dicom",
        sha256="ab" * 32,
        notes=notes,
        warnings=(FilmWarning("inverted", "It is inverted.", withholds=True),),
        windows=(WindowChoice("window-1", "center 1, width 2"),),
        window="window-1",
    )


def read(data: bytes, *, limits: FilmLimits, window: str | None) -> Film:
    """Read nothing; be as slow, as hungry or as broken as is asked for."""
    word, _, rest = data.partition(b" ")
    match word.decode():
        case "burn":
            until = time.process_time() + float(rest or 60)
            while time.process_time() < until:
                pass
        case "sleep":
            time.sleep(float(rest or 60))
        case "hungry":
            np.ones(int(rest), np.uint8)
        case "opencv":
            cv2.resize(np.ones((100, 100), np.uint8), (30_000, 30_000))
        case "crash":
            ctypes.string_at(0)
        case "leave":
            os._exit(3)
        case "unforeseen":
            raise KeyError(PATIENT)
        case "none":
            raise NoPictureError("The film shows nothing.")
        case "window":
            raise SelectionError(f"no window {window}")
        case "long":
            return film("x" * 5000, *(["note"] * 500))
        case "print":
            print("a library's remark", flush=True)
            os.write(1, b"another's")
        case "write":
            with tempfile.TemporaryFile() as file:
                file.write(b"x" * 100)
        case "tell":
            return film(*told(limits, window))
        case "leak":
            KEPT.append(np.ones(2**28, np.uint8))
    return film(word.decode())


KEPT: list[Any] = []


def told(limits: FilmLimits, window: str | None) -> tuple[str, ...]:
    """What the worker knows of itself and of the job."""
    return (
        f"limits {limits.max_pixels} {limits.min_side}",
        f"window {window}",
        f"nice {os.nice(0)}",
        f"core {resource.getrlimit(resource.RLIMIT_CORE)[0]}",
        f"file {resource.getrlimit(resource.RLIMIT_FSIZE)[0]}",
        f"secret {os.environ.get('HF_TOKEN')} {sorted(name for name in os.environ if 'PASSWORD' in name)}",
        f"descriptors {sorted(os.listdir('/proc/self/fd'))}",
    )
