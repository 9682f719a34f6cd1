"""What a DICOM's header says of its pixels, checked (PS3.3 C.7.6.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medinterp.errors import UnsupportedFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_open import OVERLAY_BIT_POSITION, OVERLAY_BITS_ALLOCATED, OVERLAYS
from medinterp.imaging.dicom_values import term, whole
from medinterp.imaging.limits import FilmLimits
from medinterp.types import FilmWarning

MONOCHROME = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
WRAPS = 2.5
"""Jumps a row that only one reading of the sign makes, from which on that reading is wrong."""

Codes = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DicomFrame:
    """rows, columns, samples a pixel; bits allocated, stored and the highest of them; whether values are signed.

    overlay_bits: unused bits of each pixel that hold an overlay.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    overlay_bits: tuple[int, ...]


def read_frame_header(dataset: Dataset, limits: FilmLimits) -> DicomFrame:
    """Raises UnsupportedFilmError for what is not read, UnreadableFilmError, FilmTooLargeError, FilmShapeError."""
    with broken_is_unreadable("DICOM"):
        if "PixelData" not in dataset:
            raise UnsupportedFilmError("The DICOM holds no picture (no integer pixels). Send the film itself.")
    frames = whole(dataset, "NumberOfFrames", 1) or 1  # some write 0 where they count none
    if frames != 1:
        raise UnsupportedFilmError(f"The DICOM has {frames} frames. Send one film as one single-frame file.")
    photometric = term(dataset, "PhotometricInterpretation")
    bits, samples = whole(dataset, "BitsAllocated"), whole(dataset, "SamplesPerPixel", 1)
    if photometric not in MONOCHROME + COLOUR:
        raise UnsupportedFilmError(f"Photometric interpretation {photometric or '?'} is not read. Send it as gray.")
    if bits not in (8, 16) or (photometric in COLOUR and bits != 8):
        raise UnsupportedFilmError(f"{photometric} of {bits} bits is not read. Send 8 or 16 bits, gray.")
    if samples != (3 if photometric in COLOUR else 1):
        raise UnsupportedFilmError(f"{photometric} of {samples} samples a pixel is not read. Send it as gray.")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    limits.check_size(columns, rows, samples * bits // 8)
    stored = whole(dataset, "BitsStored", bits)
    return DicomFrame(
        rows=rows,
        columns=columns,
        samples=samples,
        photometric=photometric,
        bits_allocated=bits,
        bits_stored=stored,
        high_bit=whole(dataset, "HighBit", stored - 1),
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
        overlay_bits=_overlay_bits(dataset, bits),
    )


def _overlay_bits(dataset: Dataset, bits: int) -> tuple[int, ...]:
    """Positions of overlays that lie in the pixels themselves (PS3.3 C.9.2, retired)."""
    positions = []
    with broken_is_unreadable("DICOM"):
        for group in OVERLAYS:
            allocated = dataset.get(group << 16 | OVERLAY_BITS_ALLOCATED)
            position = dataset.get(group << 16 | OVERLAY_BIT_POSITION)
            if allocated is not None and position is not None and allocated.value not in (None, 1):
                positions.append(int(position.value))
    return tuple(sorted({position for position in positions if 0 <= position < bits}))


@dataclass(frozen=True, eq=False)
class StoredValues:
    """values: float64 [256 or 65536], what each code stands for; bits that they take; what was not believed."""

    values: npt.NDArray[np.float64]
    bits: int
    signed: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[FilmWarning, ...] = ()


def read_values(frame: DicomFrame, codes: Codes, counts: Counts) -> StoredValues:
    """What the codes stand for; where header and pixels contradict each other, the pixels are believed, with a warning.

    counts: how often each code stands on the film.
    """
    notes: list[str] = []
    warnings: list[FilmWarning] = []
    size = len(counts)
    allocated = size.bit_length() - 1
    numbers = np.arange(size, dtype=np.int64)
    stored, high = frame.bits_stored, frame.high_bit
    if not (1 <= stored <= allocated and stored - 1 <= high < allocated):
        told = f"BitsStored (0028,0101) and HighBit (0028,0102) say {stored} and {high}: read as {allocated} bits."
        warnings.append(FilmWarning("bits-stored", told))
        stored, high = allocated, allocated - 1
    low = high - stored + 1
    mask = (1 << stored) - 1
    overlay = sum(1 << bit for bit in frame.overlay_bits if not low <= bit <= high)
    if overlay:
        numbers &= ~overlay
        notes.append("overlay bits left out")
    if low:
        numbers >>= low
        notes.append(f"pixels lie {low} bits higher")
    used = numbers[counts > 0]
    extended = (1 << (allocated - low)) - (1 << stored)  # the bits above, all set: a sign that was carried on
    beyond = used & ~mask
    fits = bool((beyond == 0).all()) or (frame.signed and bool(np.isin(beyond, (0, extended)).all()))
    if not fits:
        top = int(used.max())
        told = f"BitsStored (0028,0101) is {stored}, but values up to {top:,} stand in the pixels: read as they stand."
        warnings.append(FilmWarning("bits-stored", told))
        stored = max(top.bit_length(), 1) if not frame.signed else allocated - low
        mask = (1 << stored) - 1
    readings = {False: numbers & mask, True: _signed(numbers & mask, stored)}
    signed = frame.signed
    if _wraps(codes, readings[signed], readings[not signed], stored):
        told = (
            f"PixelRepresentation (0028,0103) is {int(signed)}, but the pixels are smooth only as "
            f"{'unsigned' if signed else 'signed'} numbers: read so."
        )
        warnings.append(FilmWarning("pixel-representation", told))
        signed = not signed
    return StoredValues(readings[signed].astype(np.float64), stored, signed, tuple(notes), tuple(warnings))


def _signed(numbers: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    half = 1 << (bits - 1)
    return np.where(numbers >= half, numbers - 2 * half, numbers)


def _wraps(codes: Codes, reading: npt.NDArray[np.int64], other: npt.NDArray[np.int64], bits: int) -> bool:
    """Whether this reading wraps around in the midst of the picture: far jumps that are none in the other reading.

    A collimator's edge makes two of them a row, both ways; a body that crosses the middle of the range makes more.
    """
    rows = codes[:: max(1, codes.shape[0] // 256)]
    steps, others = (np.abs(np.diff(table[rows], axis=1)) for table in (reading, other))
    far, near = 1 << (bits - 1), 1 << max(bits - 3, 0)
    wrapped = float(((steps > far) & (others < near)).sum()) / len(rows)
    reverse = float(((others > far) & (steps < near)).sum()) / len(rows)
    return wrapped >= WRAPS and reverse <= wrapped / 4
