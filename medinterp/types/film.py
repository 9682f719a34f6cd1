"""Films: what was read, what is doubtful about it, where its cells lie in the sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class FilmWarning:
    """What is doubtful about a film, or about what was made of it.

    code: stable, for programs (e.g. "inverted"); text: a sentence for people, no identity;
    withholds: a report on such a film would mean nothing, so none is written unless it is asked for by force.
    """

    code: str
    text: str
    withholds: bool = False


@dataclass(frozen=True)
class WindowChoice:
    """A way to bring a DICOM's stored values to gray.

    name: what `window=` takes ("window-1", "lut-1", "full"); label: the same for people.
    """

    name: str
    label: str


@dataclass(frozen=True)
class PixelSpacing:
    """How large a film's pixels are.

    mm: the side of one; plane: where that holds, "detector" (the patient is nearer to the tube, and is drawn larger)
    or "patient" (the header was calibrated, or tells the magnification).
    """

    mm: float
    plane: Literal["detector", "patient"]


@dataclass(frozen=True, eq=False)
class DicomSource:
    """What a film's own DICOM says of patient, study and picture, for objects that are made about that picture.

    It names the patient: it goes where the film goes and is deleted with it, and stands in no answer, log or page.
    header: a data set of a few elements, explicit VR little endian, text in UTF-8 (`imaging.dicom_source` reads it);
    rows, columns: of the stored pixels; orientation: the EXIF orientation 1..8 that turned them upright.
    """

    header: bytes = field(repr=False)
    rows: int
    columns: int
    orientation: int


@dataclass(frozen=True, eq=False)
class Film:
    """One radiograph as it is looked at: upright, bright is dense, one channel, square pixels.

    pixels: uint8 or uint16 [height, width], full range of its dtype, source orientation applied.
    media_type: "image/png", "image/jpeg", "image/tiff" or "application/dicom" ("application/octet-stream" for an
        array that was given in memory).
    sha256: hex digest of the bytes that were read.
    notes: what was done to the source (e.g. "inverted: MONOCHROME1"), for provenance; no identity.
    warnings: what is doubtful about it.
    windows, window: the windows and tables that a DICOM offers, and the name of the one that was used (or of what
        was asked for in numbers); none for other kinds of files.
    source: of a DICOM, what objects about its picture need; it names the patient.
    spacing: how large its pixels are, where the file says so.
    sides_told: the file says on which side the patient's left lies (now the right, as films hang); of others that is
        taken for granted.
    """

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    media_type: str
    sha256: str
    notes: tuple[str, ...] = ()
    warnings: tuple[FilmWarning, ...] = ()
    windows: tuple[WindowChoice, ...] = ()
    window: str | None = None
    source: DicomSource | None = field(default=None, repr=False)
    spacing: PixelSpacing | None = None
    sides_told: bool = False

    @property
    def bits(self) -> int:
        """Of a pixel: 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])


@dataclass(frozen=True)
class ImageSpan:
    """Where one image's cells lie in the sequence: positions start .. stop-1, row-major grid.

    part: of a film's crop the share of the film that it shows, (top, left, bottom, right); None for a whole film, whose
    crops follow it.
    """

    start: int
    stop: int
    rows: int
    columns: int
    part: tuple[float, float, float, float] | None = None


def spans_by_film(spans: Sequence[ImageSpan]) -> list[list[ImageSpan]]:
    """The spans of each film, the whole first, then its crops."""
    films: list[list[ImageSpan]] = []
    for span in spans:
        if span.part is None:
            films.append([span])
        else:
            films[-1].append(span)
    return films
