"""Colour maps: 256 RGB colours from low to high."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

_FROM_OPENCV = {
    "magma": cv2.COLORMAP_MAGMA,
    "viridis": cv2.COLORMAP_VIRIDIS,
    "cividis": cv2.COLORMAP_CIVIDIS,
}
DEFAULT_COLORMAP = "magma"
"""Coloured all along: the middle of "cividis" is gray, and so is a film."""
SIGNED_COLORMAP = "diverging"
COLORMAPS = (*_FROM_OPENCV, "gray", "diverging")
_BLUE, _WHITE, _RED = (33, 102, 172), (247, 247, 247), (178, 24, 43)


def default_colormap(signed: bool) -> str:
    """The colours of a map for which none were chosen."""
    return SIGNED_COLORMAP if signed else DEFAULT_COLORMAP


@lru_cache(maxsize=len(COLORMAPS))
def colormap(name: str) -> npt.NDArray[np.uint8]:
    """The colours of a map, uint8 [256, 3] RGB, read-only; raises ValueError naming those there are.

    "cividis" (Nunez et al., PLOS ONE 2018) reads the same with and without colour vision deficiency.
    "diverging" runs from blue (against) over white (0) to red (for): it is for signed maps.
    """
    ramp = np.arange(256, dtype=np.uint8)
    if name in _FROM_OPENCV:
        table = cv2.applyColorMap(ramp[:, None], _FROM_OPENCV[name])[:, 0, ::-1].copy()
    elif name == "gray":
        table = np.repeat(ramp[:, None], 3, axis=1)
    elif name == "diverging":
        stops = np.array([_BLUE, _WHITE, _RED], dtype=np.float64)
        channels = [np.interp(ramp, (0, 127.5, 255), stops[:, k]) for k in range(3)]
        table = np.round(np.stack(channels, axis=1)).astype(np.uint8)
    else:
        raise ValueError(f"there is no colour map {name!r}; there are: {', '.join(COLORMAPS)}")
    table.setflags(write=False)
    return np.asarray(table, dtype=np.uint8)
