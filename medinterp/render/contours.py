"""Lines around what lies above a level, drawn so that a browser can draw the same."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import Float32Array

CONTOUR_LEVELS = (0.5, 0.75)
"""Where contours run, as shares of the scale."""
_FLAT = np.float32(1e-6)


def draw_contours(
    picture: npt.NDArray[np.uint8], strength: Float32Array, colours: Sequence[npt.NDArray[np.uint8]]
) -> npt.NDArray[np.uint8]:
    """The picture, uint8 [height, width, 3], with a line at each of CONTOUR_LEVELS, the lower level first.

    strength: s, float32 [height, width] in 0..1; colours: uint8 [3] of each level. The page draws by the same formula,
    pixel by pixel:

        thickness = max(1, max(height, width) / 500)
        gx(y, x) = (s(y, x + 1) - s(y, x - 1)) / 2, in the first column s(y, 1) - s(y, 0), in the last one
            s(y, width - 1) - s(y, width - 2), 0 where there is one column; gy the same along y
        g = sqrt(gx^2 + gy^2)
        d = |s - level| / max(g, 1e-6), the distance in pixels to the line (to first order)
        c = clip(thickness / 2 + 0.5 - d, 0, 1)
        picture <- picture + c (colour - picture)

    in float, rounded after the last level. s lies on the picture's own pixels: between the centres of cells it is
    bilinear, beyond the outermost centres the nearest cell's (for signed maps |2 share - 1| of the bilinear share).
    """
    reach = np.float32(max(1.0, max(picture.shape[:2]) / 500) / 2 + 0.5)
    gradient = np.maximum(cv2.magnitude(_slope(strength, 1), _slope(strength, 0)), _FLAT)
    within = gradient * reach
    lined = picture.copy()
    # Most pixels are on no line; those that may be are looked at alone.
    near = [np.abs(strength - np.float32(level)) < within for level in CONTOUR_LEVELS]
    places = np.flatnonzero(np.logical_or.reduce(near))
    slope, height = gradient.reshape(-1)[places], strength.reshape(-1)[places]
    drawn = lined.reshape(-1, 3)[places].astype(np.float32)
    for level, colour in zip(CONTOUR_LEVELS, colours, strict=True):
        cover = np.clip(reach - np.abs(height - np.float32(level)) / slope, 0, 1)
        drawn += cover[:, None] * (colour.astype(np.float32) - drawn)
    lined.reshape(-1, 3)[places] = np.round(drawn).astype(np.uint8)
    return lined


def _slope(values: Float32Array, axis: int) -> Float32Array:
    """Central differences along an axis, one-sided at its ends, 0 where it has one place; of the same shape."""
    if values.shape[axis] == 1:
        return np.zeros_like(values)
    kernel = [np.array([-0.5, 0.0, 0.5], np.float32), np.ones(1, np.float32)]
    across, down = kernel if axis == 1 else kernel[::-1]
    # With the edge repeated, the outermost difference is half of a one-sided one.
    slope = np.asarray(cv2.sepFilter2D(values, cv2.CV_32F, across, down, borderType=cv2.BORDER_REPLICATE), np.float32)
    ends = np.moveaxis(slope, axis, 0)
    ends[0] *= 2
    ends[-1] *= 2
    return slope
