"""What of a film shows the body: the rest is air beside the patient, collimation and padding."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import BoolArray, Float32Array

SIDE = 128
"""Rows and columns of the small copy."""
DARK = 0.15
"""Of the film's range of gray (1st to 99th percentile) above its darkest: air with no tissue before it is below."""


def body_mask(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> BoolArray:
    """Where the body is, bool [SIDE, SIDE] of the squeezed film: the largest piece of what is not nearly black from an
    edge on. Lungs are dark too, and surrounded by what is not. Pixels as in Film, of any size.
    """
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = np.percentile(small, (1, 99))
    gray = cv2.GaussianBlur((small - low) / max(float(high - low), 1e-6), (0, 0), 1.0)
    dark = (gray < DARK).astype(np.uint8)
    _, labels = cv2.connectedComponents(dark, connectivity=4)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    inside = ((dark == 0) | ~np.isin(labels, outside)).astype(np.uint8)
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
    if len(stats) == 1:  # not even a piece
        return np.zeros((SIDE, SIDE), dtype=bool)
    # What stands apart, beside the patient, is a marker or text.
    return np.asarray(pieces == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def share_by_cell(mask: BoolArray, rows: int, columns: int) -> Float32Array:
    """Of each cell of a grid over the film the share that a mask (of any size) covers, float32 [rows, columns]."""
    shares = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(shares, dtype=np.float32).reshape(rows, columns)
