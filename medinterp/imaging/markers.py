"""Side markers: the letter and the side that it lies on say whether left and right are exchanged.

A letter alone does not: a marker that was taped on the wrong way round is reversed on a film that is not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import BoolArray, FilmWarning

LONGEST = 1024
"""The longer side of the copy in which markers are looked for, in pixels."""
LETTERS = ("R", "L")
TILE = 32
"""Rows and columns that a letter is brought to."""
ALIKE, MARGIN = 0.72, 0.14
"""Overlap with a letter from which on it is one, and how much better the mirrored reading must be."""
PERIPHERY = 0.22
"""Of the film's width and height: markers lie at its edges."""
MIDLINE = 0.1
"""How far from the midline a marker must lie to be on a side, of the film's width."""
SMALLEST, LARGEST = 0.012, 0.12
"""Height of a marker's letter over the film's longer side."""

FEWEST = 10
"""Rows of pixels in which a letter can be read."""

Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Marker:
    """A letter, whether it is reversed, and whether it lies where its side of an upright film is."""

    letter: str
    reversed: bool
    right_place: bool


def doubts_of_markers(reduced: Gray) -> tuple[FilmWarning, ...]:
    """A warning when side markers lie on the other side; reduced: the film's reduced_copy.

    Reversed there, the film is mirrored; the right way round, it is, or the marker is wrong.
    """
    markers = read_markers(reduced)
    if not markers or any(marker.right_place for marker in markers):
        return ()
    letter = markers[0].letter
    if all(marker.reversed for marker in markers):
        told = f"The film is mirrored: its {letter} marker is reversed and lies on the other side."
        return (FilmWarning("mirrored", told, withholds=True),)
    told = f"The {letter} marker lies on the other side: the film is mirrored, or the marker is wrong."
    return (FilmWarning("marker-side", told),)


def read_markers(reduced: Gray) -> tuple[Marker, ...]:
    """The side markers at the edges of a film; reduced: its reduced_copy."""
    markers = []
    for across, shape in _letters(reduced):
        read = _read(shape)
        if read is not None:
            letter, mirrored = read
            markers.append(Marker(letter, mirrored, (across < 0.5) == (letter == "R")))
    return tuple(markers)


def reduced_copy(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Gray:
    """A film (pixels as in Film) as uint8, of LONGEST pixels on its longer side at most."""
    height, width = pixels.shape
    factor = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small: npt.NDArray[Any] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small if pixels.dtype == np.uint8 else (small >> 8).astype(np.uint8)


def _letters(gray: Gray) -> list[tuple[float, BoolArray]]:
    """Bright shapes of a letter's size at the film's edges, off its midline: where across, 0 to 1, and cut out."""
    height, width = gray.shape
    longest = max(height, width)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (int(longest * 0.05) | 1, int(longest * 0.05) | 1))
    standing_out = cv2.morphologyEx(gray, cv2.MORPH_TOPHAT, kernel)
    found = []
    for threshold in (50, 110):
        count, labels, stats, centres = cv2.connectedComponentsWithStats((standing_out > threshold).astype(np.uint8))
        for label in range(1, count):
            left, top, wide, tall, area = (int(number) for number in stats[label])
            across, down = float(centres[label][0]) / width, float(centres[label][1]) / height
            at_edge = min(across, 1 - across, down, 1 - down) < PERIPHERY and abs(across - 0.5) > MIDLINE
            whole = min(left, top, width - left - wide, height - top - tall) > 0
            high = tall >= FEWEST and SMALLEST <= tall / longest <= LARGEST
            if at_edge and whole and high and 0.4 <= wide / tall <= 1.3 and area > 0.2 * wide * tall:
                found.append((across, np.asarray(labels[top : top + tall, left : left + wide] == label)))
    return found


def _read(shape: BoolArray) -> tuple[str, bool] | None:
    """The letter that a shape is, and whether it is mirrored; None where it is neither, or both as well."""
    tile = _tile(shape)
    scores = {(name, mirrored): 0.0 for name in LETTERS for mirrored in (False, True)}
    for name, drawn in _drawn():
        for mirrored in (False, True):
            other = drawn[:, ::-1] if mirrored else drawn
            overlap = float((tile & other).sum()) / float((tile | other).sum())
            scores[name, mirrored] = max(scores[name, mirrored], overlap)
    best = max(scores, key=lambda key: scores[key])
    rest = max(score for key, score in scores.items() if key != best)
    return best if scores[best] >= ALIKE and scores[best] >= rest + MARGIN else None


def _tile(shape: BoolArray) -> BoolArray:
    return np.asarray(cv2.resize(shape.astype(np.float32), (TILE, TILE), interpolation=cv2.INTER_AREA) > 0.5)


@functools.cache
def _drawn() -> tuple[tuple[str, BoolArray], ...]:
    """The letters as several faces and weights draw them, cut out and brought to a tile."""
    drawn = []
    for name in LETTERS:
        for face in (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX):
            for thickness in (5, 8, 12, 16):
                canvas = np.zeros((160, 160), dtype=np.uint8)
                cv2.putText(canvas, name, (30, 120), face, 4.0, 255, thickness, cv2.LINE_AA)
                rows, columns = (np.flatnonzero((canvas > 127).any(axis=axis)) for axis in (1, 0))
                cut = canvas[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                drawn.append((name, _tile(cut > 127)))
    return tuple(drawn)
