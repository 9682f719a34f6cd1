"""How a frontal chest film looks, drawn, and how much a picture is like that.

Three views of the two are compared at once: gray, gray without the slow changes of exposure, and the directions of
edges; the best place and size counts. The drawing's outlines were fitted to synthetic films and to public ones.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import Float32Array

SIDE = 64
"""Rows and columns of the small copy."""
WIDTHS, HEIGHTS = (48, 56, 64), (44, 54, 64)
"""Sizes of the drawn chest in it: films are cropped more or less closely."""


def small_copy(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Float32Array:
    """The film squeezed to SIDE x SIDE, half its gray values, half their ranks: whatever its window, -0.5 to 0.5."""
    gray = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = np.percentile(gray, (2, 98))
    if high <= low:
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    ranks = np.empty(gray.size, dtype=np.float32)
    ranks[np.argsort(gray.ravel(), kind="stable")] = np.linspace(0.0, 1.0, gray.size, dtype=np.float32)
    mixed = 0.5 * ranks.reshape(gray.shape) + 0.5 * np.clip((gray - low) / (high - low), 0.0, 1.0)
    return np.asarray(mixed - 0.5, dtype=np.float32)


def likeness(small: Float32Array, *, roughly: bool = False) -> float:
    """The best normalised correlation of a small copy with the drawn chest, over its sizes and places, -1 to 1.

    roughly: with the smallest and largest sizes only.
    """
    seen = _views(np.ascontiguousarray(small))
    found = [cv2.matchTemplate(seen, chest, cv2.TM_CCOEFF_NORMED) for chest in _chests(2 if roughly else 1)]
    return max(float(each[np.isfinite(each)].max(initial=-1.0)) for each in found)


@functools.cache
def _chests(every: int) -> tuple[Float32Array, ...]:
    return tuple(_views(drawn_chest(width, height)) for width in WIDTHS[::every] for height in HEIGHTS[::every])


def _views(gray: Float32Array) -> Float32Array:
    """float32 [height, width, 4], each of the same weight: gray, evened gray, edges across and edges down."""
    off = gray - cv2.GaussianBlur(gray, (0, 0), 9)
    evened = off / (np.sqrt(cv2.GaussianBlur(off * off, (0, 0), 9)) + 0.03)
    smooth = cv2.GaussianBlur(gray, (0, 0), 1.2)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = np.sqrt(cv2.GaussianBlur(across * across + down * down, (0, 0), 6)) + 0.02
    across, down = across / strength, down / strength
    length = float(np.sqrt((across * across + down * down).mean())) + 1e-6
    return np.dstack([_standard(gray), _standard(evened), across / length, down / length]).astype(np.float32)


def _standard(values: npt.NDArray[np.floating]) -> Float32Array:
    return np.asarray((values - values.mean()) / (values.std() + 1e-6), dtype=np.float32)


def drawn_chest(width: int, height: int) -> Float32Array:
    """A frontal chest as most films show it, float32 [height, width]; left and right alike."""
    across = (np.arange(width, dtype=np.float32) + 0.5) / width
    down = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    aside = np.abs(across - 0.5)[None, :]
    shoulders = 0.11 + 0.41 * np.clip((down - 0.03) / 0.14, 0, 1) ** 1.6
    body = _inside(aside - shoulders, 0.03)
    ribs = 0.4 * np.clip((down - 0.115) / 0.6, 1e-4, 1) ** 0.25
    dome = 0.66 - 0.06 * np.cos(np.clip((aside - 0.2) / 0.2, -1, 1) * np.pi / 2)
    lungs = _inside(aside - ribs, 0.025) * _inside(0.07 - aside, 0.02) * _inside(down - dome, 0.04)
    spine = _inside(aside - 0.06, 0.02)
    heart = _inside(np.hypot(aside / 0.16, (down - 0.51) / 0.16) - 1, 0.2)
    abdomen = np.clip((down - 0.6) / 0.4, 0, 1)
    return np.asarray(0.6 * body - 0.81 * lungs + 0.32 * spine + 0.29 * heart + 0.135 * abdomen, dtype=np.float32)


def _inside(distance: npt.NDArray[np.floating], softness: float) -> Float32Array:
    """1 where the distance is negative, 0 where it is positive, with a soft edge."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / softness, -30, 30))), dtype=np.float32)
