"""The film gate: is this a frontal chest film, the right way up and the right way round, by its look alone?

A small copy of the film is compared with a drawn chest (chest.py) as it is, turned, upside down and inverted: one that
is a chest another way only says which way it lies. The thresholds were chosen on synthetic films of training seeds, on
public chest films, and on photographs and films of other parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmWithheldError
from medinterp.imaging.chest import SIDE, likeness, small_copy
from medinterp.imaging.markers import doubts_of_markers, reduced_copy
from medinterp.types import Film, FilmWarning, Float32Array

SURELY, CHEST, HARDLY = 0.62, 0.48, 0.40
"""Likeness from which on it is a chest whatever else it is like, from which on it is one, below which it is none."""
OTHERWISE, LEAD, CLEAR_LEAD = 0.45, 0.05, 0.1
"""Likeness from which on it is a chest another way, and by how much that way must lead: more where it is one anyway."""
EVEN = 8
"""Gray levels of 255 within which a row or column at the edge is a frame, or padding."""
NARROW = 0.8
"""Share of the picture that is left when a narrow frame is cut off."""
EMPTY, DESPITE = 0.35, 0.6
"""Share of the picture that is as good as black from which on it must be quite like a chest: fingers stand apart."""
GRAIN = 0.12
"""Share of a film's variance that is left when 8 x 8 pixels are averaged, below which there is nothing but noise."""
PAPER = 0.55
"""Share of the pixels that have one and the same brightest or darkest gray on a page of text."""
THICK = 40
"""Of a page's longer side: strokes are narrower than that."""

NOT_CHEST = "This does not look like a frontal chest film."
HARDLY_CHEST = "This hardly looks like a frontal chest film: lungs, midline and abdomen are not where they mostly are."
_ONLY = "it looks like a chest only"

WAYS: Mapping[str, tuple[str, Callable[[Float32Array], tuple[Float32Array, ...]]]] = {
    "inverted": (f"The film is inverted: {_ONLY} with black and white exchanged.", lambda small: (-small,)),
    "turned": (
        f"The film lies on its side: {_ONLY} when turned by 90 degrees.",
        lambda small: (np.rot90(small), np.rot90(small, 3)),
    ),
    "upside-down": (
        f"The film is upside down: {_ONLY} with head and feet exchanged.",
        lambda small: (small[::-1],),
    ),
    "inverted-and-turned": (
        f"The film is inverted and lies on its side: {_ONLY} the other way.",
        lambda small: (-np.rot90(small), -np.rot90(small, 3)),
    ),
    "inverted-and-upside-down": (
        f"The film is inverted and upside down: {_ONLY} the other way.",
        lambda small: (-small[::-1],),
    ),
}
"""What a film may be, what is told of it, and how its small copy is brought back (both hands, where either may be)."""


def look(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> tuple[FilmWarning, ...]:
    """What is doubtful about a film by its look; pixels as in Film, of any size."""
    whole = reduced_copy(pixels)
    reduced = _without_frame(whole)
    small = small_copy(reduced)
    if float(small.std()) == 0.0:
        return ()  # nothing to see: check_picture says so
    chest = likeness(small)
    if chest < SURELY:
        others = {
            code: max(likeness(one, roughly=True) for one in back(small)) for code, (_, back) in WAYS.items()
        }
        way = max(others, key=lambda code: others[code])
        other = max(map(likeness, WAYS[way][1](small)))
        if other >= max(OTHERWISE, chest + (LEAD if chest < CHEST else CLEAR_LEAD)):
            return (FilmWarning(way, WAYS[way][0], withholds=True),)
    if chest < HARDLY or (chest < DESPITE and _dark_share(reduced) > EMPTY):
        return (_no_chest(reduced),)
    doubts = (FilmWarning("hardly-chest", HARDLY_CHEST),) if chest < CHEST else ()
    # A narrow frame is where markers lie, and may end at one; a wide one is padding.
    return (*doubts, *doubts_of_markers(whole if reduced.size > NARROW * whole.size else reduced))


def withhold(film: Film) -> None:
    """Raise FilmWithheldError when a warning on the film makes a report meaningless."""
    withholding = tuple(warning for warning in film.warnings if warning.withholds)
    if withholding:
        raise FilmWithheldError(withholding)


def _without_frame(reduced: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture without rows and columns of one gray at its edges; the whole where nothing would be left."""
    for axis in (0, 1):
        spread = np.ptp(reduced, axis=1 - axis)
        kept = np.flatnonzero(spread > EVEN)
        if kept.size:
            reduced = np.take(reduced, range(int(kept[0]), int(kept[-1]) + 1), axis=axis)
    return np.ascontiguousarray(reduced)


def _no_chest(reduced: npt.NDArray[np.uint8]) -> FilmWarning:
    if _is_noise(reduced):
        return FilmWarning("noise", "This is noise, not the picture of a body.", withholds=True)
    if _is_text(reduced):
        return FilmWarning("text", "This is a page of text or a drawing, not a film.", withholds=True)
    return FilmWarning("not-chest", NOT_CHEST, withholds=True)


def _dark_share(reduced: npt.NDArray[np.uint8]) -> float:
    """Share of the picture that is nearly black."""
    gray = cv2.resize(reduced, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = np.percentile(gray, (2, 98))
    return float((gray < low + 0.15 * (high - low)).mean())


def _is_noise(reduced: npt.NDArray[np.uint8]) -> bool:
    """Whether averaging neighbours leaves next to nothing."""
    height, width = reduced.shape
    gray = reduced.astype(np.float32)
    smooth = cv2.resize(gray, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    return float(smooth.var()) < GRAIN * float(gray.var())


def _is_text(reduced: npt.NDArray[np.uint8]) -> bool:
    """Whether most of the picture is one even ground, nearly white or black, with thin strokes on it."""
    ground = int(np.median(reduced))
    off = cv2.absdiff(reduced, np.full_like(reduced, ground))
    strokes = (off > 80).astype(np.uint8)
    side = max(3, max(reduced.shape) // THICK)
    thick = cv2.morphologyEx(strokes, cv2.MORPH_OPEN, np.ones((side, side), dtype=np.uint8))
    share = float(strokes.mean())
    thin = float(thick.mean()) < 0.3 * share
    return float((off < 12).mean()) > PAPER and 0.01 < share < 0.4 and thin and not 60 < ground < 180
