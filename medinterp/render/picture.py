"""An overlay that has been drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medinterp.render.png import encode_png


@dataclass(frozen=True, eq=False)
class Picture:
    """An overlay, uint8 [height, width, 3] RGB, that can be saved as a PNG file."""

    pixels: npt.NDArray[np.uint8]

    def png(self) -> bytes:
        """The picture as PNG bytes."""
        return encode_png(self.pixels)

    def save(self, path: str | Path) -> None:
        """Write the picture as a PNG file."""
        Path(path).write_bytes(self.png())

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.png()
