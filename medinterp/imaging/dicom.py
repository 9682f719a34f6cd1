"""DICOM films."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medinterp.errors import FilmTooLargeError, UnreadableFilmError, UnsupportedFilmError
from medinterp.imaging.gray import luma
from medinterp.imaging.orientation import PATIENT_ORIENTATION, upright
from medinterp.imaging.raster import check_pixels
from medinterp.imaging.window import display

PREAMBLE = 132
MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
DECOMPRESS = (
    "Decompress it first, for example with `gdcmconv --raw IN OUT`, `dcmdjpeg IN OUT` (JPEG) or "
    "`dcmdjpls IN OUT` (JPEG-LS), or send it as PNG."
)
BROKEN = (
    InvalidDicomError,
    BytesLengthException,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    NotImplementedError,
    RuntimeError,  # what pydicom raises when every decoder failed
    OverflowError,
    EOFError,
    OSError,
    struct.error,
)


def read_dicom(data: bytes, max_pixels: int) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Decode a single-frame DICOM to gray uint8 or uint16 [H, W], and notes on what was done to it.

    Gray films go through the modality and VOI steps of window.display; colour becomes luma.
    Raises FilmTooLargeError before decoding, UnreadableFilmError, UnsupportedFilmError.
    """
    notes: list[str] = []
    with _broken_is_unreadable():
        dataset = _open(data, notes)
        _check(dataset, max_pixels)
        stored = np.asarray(pixel_array(dataset))
        if dataset.PhotometricInterpretation in COLOUR:
            pixels = luma(stored)
            notes.append(f"gray from {dataset.PhotometricInterpretation}")
        else:
            pixels = display(dataset, stored, notes)
        directions = tuple(str(direction) for direction in dataset.get("PatientOrientation") or ())
    orientation = PATIENT_ORIENTATION.get("".join(direction[:1] for direction in directions), 1)
    if orientation != 1:
        pixels = upright(pixels, orientation)
        notes.append("turned: patient orientation " + "\\".join(directions))
    return pixels, tuple(notes)


@contextmanager
def _broken_is_unreadable() -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError as error:
        raise FilmTooLargeError(f"The DICOM's compressed picture is too large: {error}") from error
    except BROKEN as error:
        raise UnreadableFilmError(f"The DICOM is broken or cut off: {error}") from error


def _open(data: bytes, notes: list[str]) -> FileDataset:
    preamble = data[PREAMBLE - 4 : PREAMBLE] == b"DICM"
    file = io.BytesIO(data)
    if preamble and _transfer_syntax(data) == DeflatedExplicitVRLittleEndian:
        # pydicom would inflate all of it at once, whatever its size.
        raise UnsupportedFilmError(
            "The DICOM is deflated, which is not read here. Inflate it first with `dcmconv +te IN OUT`."
        )
    dataset = dcmread(file, force=not preamble)
    if "Rows" not in dataset and "SOPClassUID" not in dataset:
        raise UnreadableFilmError("The file is not an image. Send a film as PNG, JPEG or DICOM.")
    if dataset.file_meta.get("TransferSyntaxUID") is None:
        # Where none is named the data set shows it: explicit or implicit, and the byte order.
        implicit, little = dataset.original_encoding
        syntax = _plain_syntax(bool(implicit), bool(little))
        dataset.file_meta.TransferSyntaxUID = syntax
        notes.append(f"transfer syntax missing: read as {syntax.name}")
    return dataset


def _transfer_syntax(data: bytes) -> UID | None:
    file = io.BytesIO(data)
    file.seek(PREAMBLE)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    syntax: UID | None = meta.get("TransferSyntaxUID")
    return syntax


def _plain_syntax(implicit: bool, little: bool) -> UID:
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _check(dataset: Dataset, max_pixels: int) -> None:
    if "PixelData" not in dataset:
        raise UnsupportedFilmError("The DICOM holds no picture (no integer pixels). Send the film itself.")
    check_pixels(int(dataset.Columns), int(dataset.Rows), max_pixels)
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise UnsupportedFilmError(f"The DICOM has {frames} frames. Send one film as one single-frame file.")
    photometric, bits = dataset.PhotometricInterpretation, int(dataset.BitsAllocated)
    if photometric not in MONOCHROME + COLOUR:
        raise UnsupportedFilmError(f"Photometric interpretation {photometric} is not read. Send it as gray.")
    if bits not in (8, 16) or (photometric in COLOUR and bits != 8):
        raise UnsupportedFilmError(f"{photometric} of {bits} bits is not read. Send 8 or 16 bits, gray.")
    _check_syntax(dataset)


def _check_syntax(dataset: Dataset) -> None:
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnsupportedFilmError(f"Transfer syntax {syntax.name} ({syntax}) is not read here. {DECOMPRESS}")
    if not syntax.is_compressed and len(dataset.PixelData) < get_expected_length(dataset):
        raise UnreadableFilmError("The DICOM is cut off: it holds fewer pixels than its header says.")
