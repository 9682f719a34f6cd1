"""Torn pictures: what follows a damaged place in a file is shifted, or as much brighter or darker, from there on.

Formats without a checksum (JPEG, uncompressed) decode such damage without an error. It shows as a step between two rows
of pixels (or of a JPEG's blocks) that runs from the damaged place to the right edge, and goes on from the left edge one
row below.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import FilmWarning

SEGMENTS = 16
"""Pieces of a row that are looked at on their own."""
COLUMNS = 512
"""Pixels of a row that are looked at, or nearly twice as many."""
STRIDES = (1, 8, 16)
"""Rows of pixels, and of blocks of a JPEG without and with subsampled colours."""
STEP, FACTOR, SHARP = 2.0, 3.0, 1.6
"""A step is so many of 255 levels, so many times what rows around it differ by, and the rows next to it."""
TEXTURE = 0.4
"""Levels by which a piece of a row varies along it; below, it lies outside the picture: its border may be straight."""
FRAME = 4
"""Rows at the top and the bottom where a frame may be drawn."""
WHOLE, PART, MIXED = 0.9, 0.35, 0.12
"""Share of a row's length, in pieces that lie in the picture, that a step must run on: a step one way (all brighter or
all darker) nearly the whole, for a straight edge makes one too; a step both ways, each of such a share, in part."""
WRAP, WRAPS, WRAPPED = 180.0, 4, 0.25
"""Levels between two rows that are black turning white where values ran over; so many of them in so many columns."""
WILD, WILD_ROWS = 25.0, 4
"""Levels between neighbouring rows, in most of their pieces, that no film has; so many rows on end of them."""


def torn(pixels: npt.NDArray[Any]) -> tuple[FilmWarning, ...]:
    """A warning when the picture looks torn; pixels as in Film, but the way round that the file has them."""
    height, width = pixels.shape
    if height < 4 * STRIDES[-1] or width < 4 * SEGMENTS:
        return ()
    scale = 255.0 / float(np.iinfo(pixels.dtype).max)
    # Every row counts; of a wide one, some of its pixels tell enough.
    some = np.ascontiguousarray(pixels[:, :: max(1, width // COLUMNS)])
    gray = some if some.dtype == np.uint8 else some.astype(np.float32)
    steps = cv2.subtract(gray[1:], gray[:-1], dtype=cv2.CV_32F)
    differences: npt.NDArray[Any] = cv2.absdiff(gray[1:], gray[:-1])
    down = _per_segment(differences, scale)
    way = np.sign(_per_segment(steps, scale))
    along = _per_segment(cv2.absdiff(np.ascontiguousarray(gray[:, 1:]), np.ascontiguousarray(gray[:, :-1])), scale)
    inside = (along[1:] > TEXTURE) & (along[:-1] > TEXTURE)
    # A body's edge takes more than one row, all of them brighter or all darker.
    slope = np.maximum(*(np.where(_moved(way, one) == way, _moved(down, one), 0.0) for one in (-1, 1)))
    sharp = down > SHARP * slope
    stepped = (down > STEP) & (down > FACTOR * _usual(down)) & sharp
    stepped[:FRAME] = stepped[-FRAME:] = False
    for stride in STRIDES:
        rows = slice(stride - 1, None, stride)
        row = _run(stepped[rows] & inside[rows], way[rows], inside[rows], mixed=stride == 1)
        if row is None and stride > 1:
            row = _stair(stepped[rows])
        if row is not None:
            return _told((row + 1) * stride / height)
    wraps = differences > WRAP / scale
    if float((wraps.sum(axis=0) >= WRAPS).mean()) > WRAPPED:
        return _told(int(np.argmax(wraps.any(axis=1))) / height)
    wild = np.convolve(np.median(down, axis=1) > WILD, np.ones(WILD_ROWS), "valid") == WILD_ROWS
    return _told(int(np.argmax(wild)) / height) if wild.any() else ()


def _told(place: float) -> tuple[FilmWarning, ...]:
    told = f"The picture looks torn {place:.0%} down from its top: the file seems damaged. Send it from its source."
    return (FilmWarning("torn", told),)


def _per_segment(differences: npt.NDArray[Any], scale: float) -> npt.NDArray[np.float32]:
    """Mean of each piece of each row, in levels, float32 [rows, SEGMENTS]."""
    rows = differences.shape[0]
    means = cv2.resize(differences.astype(np.float32, copy=False), (SEGMENTS, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(means * scale, dtype=np.float32)


def _usual(down: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a row differs by around here: the median of the rows near it, or where that is more, of those as far from
    a JPEG's blocks, whose borders always differ."""
    near, blocks = (_median_around(down, steps) for steps in ((2, 3, 4, 5), (8, 16, 24)))
    return np.asarray(np.maximum(near, blocks), dtype=np.float32)


def _median_around(down: npt.NDArray[np.float32], steps: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The median of the rows so many steps above and below."""
    around = [_moved(down, sign * step) for step in steps for sign in (-1, 1)]
    return np.asarray(np.median(np.stack(around), axis=0), dtype=np.float32)


def _moved(down: npt.NDArray[np.float32], step: int) -> npt.NDArray[np.float32]:
    """For each row the one so many steps further; where the picture ends, the one as far on the other side."""
    rows = np.arange(len(down))
    place = np.where((rows + step < 0) | (rows + step >= len(down)), rows - step, rows + step)
    return np.asarray(down[np.clip(place, 0, len(down) - 1)], dtype=np.float32)


def _run(
    stepped: npt.NDArray[np.bool_], way: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], *, mixed: bool
) -> int | None:
    """The row where a step begins that runs on for a whole row's length in reading order; None without one."""
    seen, hits, up = (_in_reading_order(each) for each in (inside, stepped, stepped & (way > 0)))
    runs = hits >= WHOLE * seen
    if mixed:
        runs |= (hits >= PART * seen) & (up >= MIXED * seen) & (hits - up >= MIXED * seen)
    whole = np.flatnonzero((seen >= SEGMENTS // 2) & runs)
    return int(whole[0]) // SEGMENTS if whole.size else None


def _stair(stepped: npt.NDArray[np.bool_]) -> int | None:
    """The row of blocks where a step begins in the midst and goes on to the right, one row lower on the left: no
    straight edge does that, so that it counts where the picture is all black or white, too."""
    over, under = stepped[:-1].astype(np.float32), stepped[1:].astype(np.float32)
    for first in range(2, SEGMENTS - 1):
        runs = (over[:, first:].mean(axis=1) >= WHOLE) & (under[:, : first - 1].mean(axis=1) >= WHOLE)
        rests = (over[:, : first - 1].mean(axis=1) <= 1 - WHOLE) & (under[:, first:].mean(axis=1) <= PART)
        found = np.flatnonzero(runs & rests)
        if found.size:
            return int(found[0])
    return None


def _in_reading_order(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """How many are set from each piece on, over a row's length."""
    total = np.cumsum(np.r_[0, flags.ravel()])
    return np.asarray(total[SEGMENTS:] - total[:-SEGMENTS])
