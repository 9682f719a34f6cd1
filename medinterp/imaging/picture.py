"""Did a picture come out? Looked at where the body is, in the middle of the film."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import NoPictureError
from medinterp.types import FilmWarning

MARGIN = 0.1
"""Of each side: what is left out at the edges, where collimators, markers and burned-in text are."""
SAMPLES = 512
"""Rows and columns that are looked at, at most."""
FLAT, FAINT = 6.0, 48.0
"""Of 255 levels between the 2nd and the 98th percentile: below, nothing can be seen, or little."""
CLIPPED = 0.15
"""Share of the pixels that are quite black or quite white from which on something may be lost."""
BITS = 1.5
"""Entropy of the gray levels below which a picture is a stencil."""


def middle(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A view of the middle of the film, of at most SAMPLES x SAMPLES of its own pixels."""
    height, width = pixels.shape
    down, across = int(height * MARGIN), int(width * MARGIN)
    inner = pixels[down : height - down, across : width - across]
    return inner[:: -(-inner.shape[0] // SAMPLES), :: -(-inner.shape[1] // SAMPLES)]


def check_picture(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> tuple[FilmWarning, ...]:
    """What is doubtful about the gray values of a film, pixels as in Film.

    Raises NoPictureError when nothing can be seen on it.
    """
    levels = (middle(pixels).astype(np.float32) * (255.0 / float(np.iinfo(pixels.dtype).max))).ravel()
    low, high = np.percentile(levels, (2, 98))
    spread = float(high - low)
    if spread < FLAT:
        raise NoPictureError(
            f"This film shows no picture: nearly all of it is one gray value, {float(np.median(levels)):.0f} of 255. "
            "Send it with another window, or export it again."
        )
    rounded = np.rint(levels).astype(np.uint8)
    counts = np.bincount(rounded, minlength=256)
    shares = counts[counts > 0] / rounded.size
    black, white = float(counts[0]) / rounded.size, float(counts[255]) / rounded.size
    warnings = []
    if float(-(shares * np.log2(shares)).sum()) < BITS:
        told = "This film is a stencil of a few gray values, not the picture of a body."
        warnings.append(FilmWarning("few-levels", told, withholds=True))
    if spread < FAINT:
        told = f"Low contrast: the middle of the film uses {spread:.0f} of 255 gray levels."
        warnings.append(FilmWarning("low-contrast", told))
    if black + white > CLIPPED:
        told = f"Clipped: in the middle of the film {black:.0%} of the pixels are black and {white:.0%} white."
        warnings.append(FilmWarning("clipped", told))
    return tuple(warnings)
