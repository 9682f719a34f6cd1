"""Where the lungs lie on a frontal chest film: the box that brings films of many patients into one frame.

Otsu's threshold (IEEE Trans. SMC 9, 1979) tells air from tissue on a small, smoothed copy; air that no edge of the film
touches is lung. Of it the largest piece on each side of the midline is taken, and the box round both. That is no
segmentation: an opaque lung base is left out, and a film without two dark lungs in a bright body has no box.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import BoolArray, Film

SIDE = 192
"""Rows and columns of the small copy."""
SMOOTH = 1.5
"""Pixels of it: ribs and vessels are no edges of a lung."""
SMALLEST = 0.02
"""A lung covers at least so much of the film."""
WIDEST, NARROWEST = 0.97, 0.35
"""Of the box round both lungs, of the film's width."""
LOWEST = 0.25
"""Of the box round both lungs, its height at least, of the film's."""


def lung_box(film: Film) -> tuple[float, float, float, float] | None:
    """The box round both lung fields: left, top, right, bottom as shares of the film's width and height.

    None where no two lungs are found: the film is of no chest, of one side only, or too opaque to tell.
    """
    found = [_lung(air) for air in _sides(_air(film.pixels))]
    if found[0] is None or found[1] is None:
        return None
    corners = np.array([found[0], found[1]], dtype=np.float64)
    left, top = corners[:, :2].min(axis=0)
    right, bottom = corners[:, 2:].max(axis=0)
    if not (NARROWEST <= right - left <= WIDEST and bottom - top >= LOWEST):
        return None
    return float(left), float(top), float(right), float(bottom)


def _air(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> BoolArray:
    """What is dark and does not reach the film's edge, bool [SIDE, SIDE]."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = np.percentile(small, (1, 99))
    gray = np.clip((small - low) / max(float(high - low), 1e-6) * 255.0, 0, 255).astype(np.uint8)
    gray = np.asarray(cv2.GaussianBlur(gray, (0, 0), SMOOTH), dtype=np.uint8)
    dark = cv2.threshold(gray, 0, 1, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)[1]
    dark = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((3, 3), dtype=np.uint8))
    _, labels = cv2.connectedComponents(dark)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray((dark > 0) & ~np.isin(labels, outside))


def _sides(air: BoolArray) -> tuple[BoolArray, BoolArray]:
    """The air left and right of the column where there is least of it in the middle third."""
    third = SIDE // 3
    columns = cv2.GaussianBlur(air.sum(axis=0).astype(np.float32)[None], (0, 0), 3)[0]
    middle = third + int(np.argmin(columns[third : 2 * third]))
    left, right = air.copy(), air.copy()
    left[:, middle:], right[:, :middle] = False, False
    return left, right


def _lung(air: BoolArray) -> tuple[float, float, float, float] | None:
    """The box round the largest piece, as shares; None where it is too small for a lung."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(air.astype(np.uint8))
    if len(stats) < 2:
        return None
    left, top, wide, tall, area = (int(number) for number in max(stats[1:], key=lambda row: row[cv2.CC_STAT_AREA]))
    if area < SMALLEST * SIDE * SIDE:
        return None
    return left / SIDE, top / SIDE, (left + wide) / SIDE, (top + tall) / SIDE
