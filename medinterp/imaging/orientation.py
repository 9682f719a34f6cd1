"""Turning stored pixels upright."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# DICOM patient orientation (where rows run to, where columns run to) -> the EXIF orientation that
# means the same. Upright is the way a chest film hangs: the patient's left on the right, head up.
PATIENT_ORIENTATION = {
    "LF": 1,
    "RF": 2,
    "RH": 3,
    "LH": 4,
    "FL": 5,
    "FR": 6,
    "HR": 7,
    "HL": 8,
}


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo an EXIF orientation 1..8 (TIFF 6.0, tag 274): pixels [rows, columns, ...], a view."""
    match orientation:
        case 1:
            return pixels
        case 2:
            return pixels[:, ::-1]
        case 3:
            return pixels[::-1, ::-1]
        case 4:
            return pixels[::-1]
        case 5:
            return np.swapaxes(pixels, 0, 1)
        case 6:
            return np.swapaxes(pixels, 0, 1)[:, ::-1]
        case 7:
            return np.swapaxes(pixels, 0, 1)[::-1, ::-1]
        case 8:
            return np.swapaxes(pixels, 0, 1)[::-1]
    raise ValueError(f"orientation {orientation} is not in 1..8")


def as_stored(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Undo `upright`: pixels [rows, columns, ...] of the upright picture as they lie in the file, a view."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))  # the other six are their own inverse
