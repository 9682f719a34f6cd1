"""Colour and transparency to one gray channel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

# ITU-R BT.601 luma in 1/65536; they sum to 65536, so gray content keeps its value to the last bit.
LUMA = (19595, 38470, 7471)
CUT_OUT = 0.5
"""Share of opaque pixels from which on transparency cuts a film out; below, it is no mask of anything."""

UInt = npt.NDArray[Any]


def luma(rgb: UInt) -> UInt:
    """Gray [H, W] of uint8 or uint16 [H, W, 3], same dtype, rounded."""
    total = np.full(rgb.shape[:2], 1 << 15, dtype=np.uint32)
    for channel, weight in enumerate(LUMA):
        total += rgb[:, :, channel].astype(np.uint32) * np.uint32(weight)
    return (total >> 16).astype(rgb.dtype)


def without_alpha(gray: UInt, alpha: UInt, notes: list[str]) -> UInt:
    """Gray [H, W] with its transparency (same shape and dtype) resolved, and a note on how.

    Where most pixels are opaque, the others lie on black, where a radiograph holds nothing. A film that is see-through
    nearly everywhere would be darkened or gone by that: its alpha is dropped.
    """
    opaque = float((alpha == np.iinfo(alpha.dtype).max).mean())
    if opaque == 1.0:
        return gray
    if opaque < CUT_OUT:
        notes.append(f"transparency dropped: {opaque:.0%} of the film is opaque")
        return gray
    notes.append("transparency blended onto black")
    full = np.uint64(np.iinfo(gray.dtype).max)
    product = gray.astype(np.uint64) * alpha.astype(np.uint64)
    return ((product + full // np.uint64(2)) // full).astype(gray.dtype)


def gray8(image: Image.Image, notes: list[str]) -> UInt:
    """A loaded picture of 8 bits or fewer as gray uint8 [H, W], its transparency resolved, and notes on both."""
    transparent = "transparency" in image.info
    if image.mode in ("L", "1") and not transparent:
        if image.mode != "L":
            notes.append(f"gray from {image.mode}")
        return np.asarray(image.convert("L"))
    notes.append(f"gray from {image.mode}")
    if transparent or image.mode in ("LA", "PA", "RGBA"):
        rgba = np.asarray(image.convert("RGBA"))
        return without_alpha(luma(rgba), rgba[:, :, 3], notes)
    return luma(np.asarray(image.convert("RGB")))


def gray16_of_colour(data: bytes, notes: list[str]) -> UInt | None:
    """A PNG's or TIFF's colours of 16 bits as gray uint16 [H, W]; None where they cannot be decoded.

    By OpenCV: Pillow keeps 8 bits of them.
    """
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    notes.append("gray from 16-bit colour")
    if decoded.ndim == 2:
        return np.asarray(decoded)
    pixels = luma(decoded[:, :, 2::-1])
    return without_alpha(pixels, decoded[:, :, 3], notes) if decoded.shape[2] == 4 else pixels
