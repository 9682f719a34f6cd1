"""DICOM films: from the bytes to gray, each step saying what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medinterp.errors import UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_frame import MONOCHROME, DicomFrame, read_frame_header, read_values
from medinterp.imaging.dicom_geometry import shut, spacing_of, squared
from medinterp.imaging.dicom_open import open_dicom
from medinterp.imaging.dicom_pixels import extra_rows, read_codes
from medinterp.imaging.dicom_source import source_of
from medinterp.imaging.dicom_tags import doubts_of_header
from medinterp.imaging.dicom_values import decimals, finite, tag_name, term, terms
from medinterp.imaging.gray import luma
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.lut import read_lut
from medinterp.imaging.orientation import PATIENT_ORIENTATION, upright
from medinterp.imaging.picture import middle
from medinterp.imaging.tear import torn
from medinterp.imaging.window import read_voi, show
from medinterp.types import DicomSource, FilmWarning, PixelSpacing, WindowChoice

MOST_PADDING = 0.98
"""Share of the pixels from which on a padding value is not one."""

Codes = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DicomFilm:
    """Gray uint8 or uint16 [H, W] over its full range, and what Film keeps beside it."""

    pixels: npt.NDArray[Any]
    notes: tuple[str, ...]
    warnings: tuple[FilmWarning, ...]
    source: DicomSource
    windows: tuple[WindowChoice, ...] = ()
    window: str | None = None
    spacing: PixelSpacing | None = None
    sides_told: bool = False


def read_dicom(data: bytes, limits: FilmLimits, window: str | None = None) -> DicomFilm:
    """Decode a single-frame DICOM: bright is dense, upright, square pixels.

    Gray: modality LUT or rescale, then the window that is asked for or the header's first that leaves something to
    see, then MONOCHROME1 or an inverse presentation shape inverted; padding and what lies outside the shutter is
    black. Colour becomes luma. Raises FilmTooLargeError and FilmShapeError before decoding, UnreadableFilmError,
    UnsupportedFilmError, NoPictureError and SelectionError for a window.
    """
    notes: list[str] = []
    warnings: list[FilmWarning] = []
    dataset, syntax = open_dicom(data, limits, notes, warnings)
    frame = read_frame_header(dataset, limits)
    warnings += doubts_of_header(dataset)
    codes = read_codes(dataset, syntax, frame, limits, notes, warnings)
    extra = extra_rows(dataset, syntax, frame)
    if extra:
        told = f"The file holds {extra} more rows of pixels than its header says: they are not shown."
        warnings.append(FilmWarning("extra-pixels", told))
    windows: tuple[WindowChoice, ...] = ()
    chosen = None
    if frame.photometric in MONOCHROME:
        pixels, windows, chosen = _gray(dataset, frame, codes, window, notes, warnings)
    else:
        pixels = luma(codes)
        notes.append(f"gray from {frame.photometric}")
    warnings += torn(pixels)
    pixels = squared(dataset, shut(dataset, pixels, notes, warnings), limits, notes, warnings)
    spacing = spacing_of(dataset, pixels)
    directions = terms(dataset, "PatientOrientation")
    named = "".join(direction[:1] for direction in directions)
    orientation = PATIENT_ORIENTATION.get(named, 1)
    if orientation != 1:
        pixels = upright(pixels, orientation)
        notes.append("turned: patient orientation " + "\\".join(directions))
    sided = named in PATIENT_ORIENTATION
    source = source_of(dataset, frame.rows, frame.columns, orientation)
    return DicomFilm(pixels, tuple(notes), tuple(warnings), source, windows, chosen, spacing, sided)


def _gray(
    dataset: Dataset,
    frame: DicomFrame,
    codes: Codes,
    asked: str | None,
    notes: list[str],
    warnings: list[FilmWarning],
) -> tuple[npt.NDArray[Any], tuple[WindowChoice, ...], str]:
    """Every step acts on single values, so a table over the stored codes is exact and small."""
    size = 1 << (8 * codes.dtype.itemsize)
    counts, body = _histogram(codes, size), _histogram(np.ascontiguousarray(middle(codes)), size)
    stored = read_values(frame, codes, counts)
    notes += stored.notes
    warnings += stored.warnings
    padding = _padding(dataset, stored.values, counts, warnings)
    values = _modality(dataset, stored.values, stored.signed, notes)
    voi = read_voi(dataset, signed=bool(values[counts > 0].min() < 0))
    shown = show(voi, values, np.where(padding, 0, counts), np.where(padding, 0, body), asked)
    notes += shown.notes
    warnings += shown.warnings
    gray = shown.gray
    if frame.photometric == "MONOCHROME1":
        gray = 1.0 - gray
        notes.append("inverted: MONOCHROME1")
    elif term(dataset, "PresentationLUTShape") == "INVERSE":
        gray = 1.0 - gray
        notes.append("inverted: presentation LUT shape INVERSE")
    if padding.any():
        gray = np.where(padding, 0.0, gray)
        notes.append("padding pixels shown black")
    dtype = np.uint8 if stored.bits <= 8 else np.uint16
    table = np.rint(gray * np.iinfo(dtype).max).astype(dtype)
    return np.take(table, codes), shown.windows, shown.window


def _histogram(codes: Codes, size: int) -> Counts:
    counted = cv2.calcHist([codes], [0], None, [size], [0, size])
    return np.asarray(counted.ravel(), dtype=np.int64)


def _padding(
    dataset: Dataset, values: Doubles, counts: Counts, warnings: list[FilmWarning]
) -> npt.NDArray[np.bool_]:
    """Which codes are padding (PS3.3 C.7.5.1.1.2)."""
    first, last = decimals(dataset, "PixelPaddingValue"), decimals(dataset, "PixelPaddingRangeLimit")
    if len(first) != 1:
        return np.zeros(values.shape, dtype=np.bool_)
    low, high = sorted((first[0], last[0] if len(last) == 1 else first[0]))
    padding = (values >= low) & (values <= high)
    share = float(counts[padding].sum()) / float(counts.sum())
    if share > MOST_PADDING:
        told = f"{tag_name('PixelPaddingValue')} would blank {share:.0%} of the film: not applied."
        warnings.append(FilmWarning("padding", told))
        return np.zeros(values.shape, dtype=np.bool_)
    return np.asarray(padding)


def _modality(dataset: Dataset, values: Doubles, signed: bool, notes: list[str]) -> Doubles:
    """Stored values to the modality's own (PS3.3 C.11.1). Raises UnreadableFilmError for what no value comes of."""
    with broken_is_unreadable("DICOM"):
        items = list(dataset.get("ModalityLUTSequence") or ())
    if items:
        table = read_lut(items[0], signed=signed)
        if table is None:
            raise UnreadableFilmError("The modality LUT (0028,3000) holds no table. Export the film again.")
        notes.append("modality LUT applied")
        return table.look_up(values)
    slope, intercept = finite(dataset, "RescaleSlope", 1.0), finite(dataset, "RescaleIntercept", 0.0)
    if slope == 0.0:
        raise UnreadableFilmError(
            f"{tag_name('RescaleSlope')} is 0: every value becomes the same. Mend the header, or send a PNG."
        )
    if (slope, intercept) != (1.0, 0.0):
        notes.append(f"rescaled: slope {slope:g}, intercept {intercept:g}")
    return values * slope + intercept
