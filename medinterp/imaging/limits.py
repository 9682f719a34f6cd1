"""How much a film may take to decode, and what shape it may have."""

from __future__ import annotations

from dataclasses import dataclass

from medinterp.errors import FilmShapeError, FilmTooLargeError, UnreadableFilmError


@dataclass(frozen=True)
class FilmLimits:
    """Checked from headers, before any pixel is decoded.

    max_bytes: of the file; max_pixels: width times height; max_decoded_bytes: of the pixels as they are decoded, all
    channels; max_parts: chunks, segments or data elements that a file is made of; max_scans: passes over the picture
    of a progressive file; min_side: pixels of the shorter side; max_aspect: the longer side over the shorter.
    """

    max_bytes: int = 64 * 2**20
    max_pixels: int = 2**26
    max_decoded_bytes: int = 2**29
    max_parts: int = 50_000
    max_scans: int = 64
    min_side: int = 32
    max_aspect: float = 5.0

    def check_size(self, width: int, height: int, bytes_per_pixel: int = 1) -> None:
        """Raise UnreadableFilmError for a film without pixels, FilmTooLargeError, FilmShapeError."""
        size = f"{width} x {height} pixels"
        if width < 1 or height < 1:
            raise UnreadableFilmError(f"The film has {size}.")
        if width * height > self.max_pixels:
            raise FilmTooLargeError(f"The film has {size}; the limit is {self.max_pixels:,}. Send it smaller.")
        if width * height * bytes_per_pixel > self.max_decoded_bytes:
            raise FilmTooLargeError(
                f"The film of {size} takes {width * height * bytes_per_pixel:,} bytes decoded; the limit is "
                f"{self.max_decoded_bytes:,}. Send it smaller, or as gray."
            )
        if min(width, height) < self.min_side:
            raise FilmShapeError(f"The film has {size}; a film has at least {self.min_side} on each side.")
        if max(width, height) > self.max_aspect * min(width, height):
            raise FilmShapeError(
                f"The film has {size}: a film is at most {self.max_aspect:g} times as long as it is wide."
            )

    def check_parts(self, parts: int) -> None:
        """Raise FilmTooLargeError for a file of too many parts."""
        if parts > self.max_parts:
            raise FilmTooLargeError(f"The file is made of more than {self.max_parts:,} parts. Export it again.")
