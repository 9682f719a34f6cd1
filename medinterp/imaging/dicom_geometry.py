"""Where a DICOM's picture ends and what shape its pixels have: display shutter, pixel aspect."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medinterp.imaging.dicom_values import decimals, terms
from medinterp.imaging.limits import FilmLimits
from medinterp.types import BoolArray, FilmWarning, PixelSpacing

LEAST_OPEN = 0.05
"""Share of the film that a shutter must leave open to be believed."""
SQUARE = 0.01
"""How far from 1 the aspect may be for pixels to count as square."""
FINEST_MM, COARSEST_MM = 0.01, 5.0
"""Pixel spacings of a radiograph that can be; a thumbnail's are coarse."""
MOST_MAGNIFIED = 3.0

Pixels = npt.NDArray[Any]


def shut(dataset: Dataset, pixels: Pixels, notes: list[str], warnings: list[FilmWarning]) -> Pixels:
    """Black outside the display shutter (PS3.3 C.7.6.11), pixels [rows, columns] as stored, not turned."""
    shapes = terms(dataset, "ShutterShape")
    opened = np.ones(pixels.shape, dtype=np.bool_)
    unread = [shape for shape in shapes if not _open(dataset, shape, opened)]
    if unread:
        told = f"The display shutter ({', '.join(shape.lower() for shape in unread)}) could not be applied."
        warnings.append(FilmWarning("shutter", told))
    if opened.all():
        return pixels
    if float(opened.mean()) < LEAST_OPEN:
        told = f"The display shutter would leave {float(opened.mean()):.1%} of the film: not applied."
        warnings.append(FilmWarning("shutter", told))
        return pixels
    notes.append("black outside the display shutter")
    return np.where(opened, pixels, pixels.dtype.type(0))


def _open(dataset: Dataset, shape: str, opened: BoolArray) -> bool:
    """Close what lies outside one shape; False when the shape is not known or its numbers are not."""
    rows, columns = np.ogrid[1 : opened.shape[0] + 1, 1 : opened.shape[1] + 1]
    if shape == "RECTANGULAR":
        sides = ("LeftVerticalEdge", "RightVerticalEdge", "UpperHorizontalEdge", "LowerHorizontalEdge")
        edges = [decimals(dataset, f"Shutter{side}") for side in sides]
        if not _usable([edge[0] if len(edge) == 1 else math.nan for edge in edges]):
            return False
        left, right, upper, lower = (edge[0] for edge in edges)
        opened &= (columns >= left) & (columns <= right) & (rows >= upper) & (rows <= lower)
        return True
    if shape == "CIRCULAR":
        center, radius = decimals(dataset, "CenterOfCircularShutter"), decimals(dataset, "RadiusOfCircularShutter")
        if len(center) != 2 or len(radius) != 1 or not _usable([*center, *radius]):
            return False
        opened &= (rows - center[0]) ** 2 + (columns - center[1]) ** 2 <= radius[0] ** 2
        return True
    if shape == "POLYGONAL":
        numbers = decimals(dataset, "VerticesOfThePolygonalShutter")
        if len(numbers) < 6 or len(numbers) % 2 or not _usable(numbers):
            return False
        corners = np.rint(np.asarray(numbers).reshape(-1, 2)[:, ::-1] - 1).astype(np.int32)
        inside = np.zeros(opened.shape, dtype=np.uint8)
        cv2.fillPoly(inside, [corners], 1)
        opened &= inside.astype(np.bool_)
        return True
    return False


def _usable(numbers: list[float] | tuple[float, ...]) -> bool:
    return all(math.isfinite(number) and abs(number) < 2**20 for number in numbers)


def squared(
    dataset: Dataset, pixels: Pixels, limits: FilmLimits, notes: list[str], warnings: list[FilmWarning]
) -> Pixels:
    """Pixels that are taller than wide, or wider than tall, made square by adding rows or columns."""
    aspect = _aspect(dataset)
    if not math.isfinite(aspect) or not 1.0 / limits.max_aspect <= aspect <= limits.max_aspect:
        warnings.append(FilmWarning("pixel-aspect", "The header's pixel aspect makes no sense: taken as square."))
        return pixels
    if abs(aspect - 1.0) <= SQUARE:
        return pixels
    rows, columns = pixels.shape
    height, width = (round(rows * aspect), columns) if aspect > 1.0 else (rows, round(columns / aspect))
    if height * width > limits.max_pixels:
        warnings.append(FilmWarning("pixel-aspect", f"Pixels are {aspect:g} times as tall as wide: left so."))
        return pixels
    notes.append(f"pixels {aspect:g} times as tall as wide: resampled to {width} x {height}")
    resized: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized


def spacing_of(dataset: Dataset, pixels: Pixels) -> PixelSpacing | None:
    """How large the pixels that `squared` left are, or None where the header does not say, or says what cannot be.

    PixelSpacing is at the detector unless it differs from ImagerPixelSpacing or names its calibration (PS3.3 10.7.1.3);
    what is only known at the detector is brought to the patient by the estimated magnification, where there is one.
    """
    at_detector = _spacing(dataset, "ImagerPixelSpacing") or _spacing(dataset, "NominalScannedPixelSpacing")
    told = _spacing(dataset, "PixelSpacing")
    calibrated = told is not None and (
        bool(terms(dataset, "PixelSpacingCalibrationType")) or (at_detector is not None and told != at_detector)
    )
    found = told or at_detector
    if found is None:
        return None
    down, across = found
    if abs(down / across - 1.0) <= SQUARE:
        mm = (down + across) / 2
    elif pixels.shape == (int(dataset.Rows), int(dataset.Columns)):
        return None  # they were left as they are
    else:
        mm = min(found)  # rows or columns were added
    magnified = decimals(dataset, "EstimatedRadiographicMagnificationFactor")
    factor = magnified[0] if len(magnified) == 1 and 1.0 <= magnified[0] <= MOST_MAGNIFIED else None
    if not calibrated and factor is not None:
        return PixelSpacing(mm / factor, "patient")
    return PixelSpacing(mm, "patient" if calibrated else "detector")


def _spacing(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    numbers = decimals(dataset, keyword)
    if len(numbers) != 2 or not all(FINEST_MM <= number <= COARSEST_MM for number in numbers):
        return None
    return numbers[0], numbers[1]


def _aspect(dataset: Dataset) -> float:
    """Height of a pixel over its width, by the first of the attributes that is there."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing"):
        numbers = decimals(dataset, keyword)
        if any(numbers):  # some units write a spacing of zeros where they know none
            return numbers[0] / numbers[1] if len(numbers) == 2 and min(numbers) > 0 else math.nan
    return 1.0
