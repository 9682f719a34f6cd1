"""Colour and transparency to one gray channel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# ITU-R BT.601 luma in 1/65536; they sum to 65536, so gray content keeps its value to the last bit.
LUMA = (19595, 38470, 7471)

UInt = npt.NDArray[Any]


def luma(rgb: UInt) -> UInt:
    """Gray [H, W] of uint8 or uint16 [H, W, 3], same dtype, rounded."""
    total = np.full(rgb.shape[:2], 1 << 15, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += rgb[:, :, channel].astype(np.uint32) * np.uint32(weight)
    return (total >> 16).astype(rgb.dtype)


def on_black(gray: UInt, alpha: UInt) -> UInt:
    """Blend [H, W] onto black, where a radiograph holds nothing; alpha of the same dtype."""
    full = np.uint64(np.iinfo(gray.dtype).max)
    product = gray.astype(np.uint64) * alpha.astype(np.uint64)
    return ((product + full // np.uint64(2)) // full).astype(gray.dtype)
