"""Files of synthetic chest films for tests of uploads, each drawn once."""

from __future__ import annotations

import functools
import io
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pydicom
from PIL import Image

from medinterp.phantom.files import write_dicom
from medinterp.phantom.films import draw_film, sample_film

PATIENT = "Zzyzx^Wilhelmina"
"""Planted in every header that can name somebody."""


@functools.cache
def dicom(width: int = 70, height: int = 80, seed: int = 3) -> bytes:
    """Uncompressed, 16 bits, of a named patient."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "film.dcm"
        write_dicom(draw_film(sample_film(seed), width, height).uint16(), path)
        dataset = pydicom.dcmread(path)
    dataset.PatientName = PATIENT
    dataset.PatientID = "Zzyzx-1"
    dataset.PatientComments = f"{PATIENT} was here"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@functools.cache
def raster(kind: str, width: int = 70, height: int = 80, seed: int = 3) -> bytes:
    """PNG (16 bits), JPEG or TIFF (8 bits), with the patient's name in a comment."""
    drawing = draw_film(sample_film(seed), width, height)
    if kind == "PNG":
        return bytes(cv2.imencode(".png", drawing.uint16())[1])
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(drawing.uint8()))
    if kind == "JPEG":
        image.save(buffer, kind, quality=90, comment=PATIENT)
    else:
        image.save(buffer, kind, description=PATIENT)
    return buffer.getvalue()
