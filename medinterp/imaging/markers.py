"""Side markers: the letter and the side that it lies on say whether left and right are exchanged.

A letter alone does not: a marker that was taped on the wrong way round is reversed on a film that is not.
"""

from __future__ import annotations

import functools
import itertools
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
SURE = 0.74
"""Overlap from which on a letter on the other side counts; below, it only speaks for a film that is as it should be."""
PERIPHERY = 0.22
"""Of the film's width and height: markers lie at its edges."""
MIDLINE = 0.1
"""How far from the midline a marker must lie to be on a side, of the film's width."""
SMALLEST, LARGEST = 0.012, 0.12
"""Height of a marker's letter over the film's longer side."""

FEWEST = 10
"""Rows of pixels in which a letter can be read."""
SOLID = 0.85
"""Share of its frame that no letter fills."""
CONVEX = {"R": 0.87, "L": 0.84}
"""Share of its convex hull that a letter fills at most, its hole counted in: triangles and Ps fill more."""
HOLES = {"R": 1, "L": 0}
NEAR, AS_HIGH = 0.9, 1.6
"""Gap between letters of a word over their height, and how much their heights differ: PORTABLE is no marker."""

FEWEST_LETTERS = 3
"""Of a word."""

Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Marker:
    """A letter, whether it is reversed, whether it lies where its side of an upright film is, and is surely read."""

    letter: str
    reversed: bool
    right_place: bool
    sure: bool


def doubts_of_markers(reduced: Gray) -> tuple[FilmWarning, ...]:
    """A warning when side markers lie on the other side; reduced: the film's reduced_copy.

    Reversed there, the film is mirrored; the right way round, it is, or the marker is wrong.
    """
    markers = read_markers(reduced)
    if not markers or any(marker.right_place or not marker.sure for marker in markers):
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
    for across, shape, _ in _letters(reduced):
        read = _read(shape)
        if read is not None:
            letter, mirrored, overlap = read
            markers.append(Marker(letter, mirrored, (across < 0.5) == (letter == "R"), overlap >= SURE))
    return tuple(markers)


def marker_boxes(reduced: Gray) -> tuple[tuple[float, float, float, float, str], ...]:
    """Where side markers and words stand at the edges of a film: left, top, right, bottom as shares of it, and the
    letter of a side marker, whichever way it reads ("" for words); reduced: its reduced_copy.

    A bright shape that is neither a marker's letter nor beside another of its height is none: nodules look like that.
    """
    height, width = reduced.shape
    painted = np.zeros((height, width), dtype=np.uint8)
    centres: list[tuple[int, int, str]] = []
    for alone in (True, False):
        for _, shape, (left, top, wide, tall) in _letters(reduced, alone=alone):
            read = _read(shape) if alone else None
            if alone and read is None:
                continue
            reach = 0 if alone else round(NEAR * tall / 2)
            painted[top : top + tall, max(0, left - reach) : left + wide + reach] = 1
            centres.append((left + wide // 2, top + tall // 2, "" if read is None else read[0]))
    _, _, stats, _ = cv2.connectedComponentsWithStats(painted)
    boxes = []
    for left, top, wide, tall, _ in stats[1:]:
        inside = [one for one in centres if left <= one[0] < left + wide and top <= one[1] < top + tall]
        letter = next((one[2] for one in inside if one[2]), "")
        across = sorted(one[0] for one in inside)
        if not letter and 1 + sum(b - a > tall / 4 for a, b in itertools.pairwise(across)) < FEWEST_LETTERS:
            continue  # two bright shapes side by side are ribs as well
        right, bottom = (left + wide) / width, (top + tall) / height
        boxes.append((float(left / width), float(top / height), float(right), float(bottom), letter))
    return tuple(boxes)


def reduced_copy(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Gray:
    """A film (pixels as in Film) as uint8, of LONGEST pixels on its longer side at most."""
    height, width = pixels.shape
    factor = min(1.0, LONGEST / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small: npt.NDArray[Any] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small if pixels.dtype == np.uint8 else (small >> 8).astype(np.uint8)


def _letters(gray: Gray, *, alone: bool = True) -> list[tuple[float, BoolArray, tuple[int, int, int, int]]]:
    """Bright shapes of a letter's size at the film's edges, off its midline and in no word (alone), or only those in
    words: where across, 0 to 1, cut out, and the frame: left, top, width and height in pixels."""
    height, width = gray.shape
    longest = max(height, width)
    standing_out = cv2.subtract(gray, _ground(gray, int(longest * 0.05)))
    found = []
    for threshold in (50, 110):
        shapes = cv2.threshold(standing_out, threshold, 1, cv2.THRESH_BINARY)[1]
        _, labels, stats, centres = cv2.connectedComponentsWithStats(shapes, ltype=cv2.CV_32S)
        left, top, wide, tall, area = stats.T
        across, down = centres[:, 0] / width, centres[:, 1] / height
        fits = np.minimum(np.minimum(across, 1 - across), np.minimum(down, 1 - down)) < PERIPHERY
        fits &= (np.abs(across - 0.5) > MIDLINE) & (left > 0) & (top > 0)
        fits &= (left + wide < width) & (top + tall < height)
        fits &= (tall >= FEWEST) & (tall >= SMALLEST * longest) & (tall <= LARGEST * longest)
        fits &= (wide >= 0.4 * tall) & (wide <= 1.3 * tall) & (area > 0.2 * wide * tall) & (area < SOLID * wide * tall)
        fits[0] = False  # the ground
        for label in np.flatnonzero(fits):
            if _in_word(int(label), stats) != alone:
                rows, columns = (slice(k, k + m) for k, m in ((top[label], tall[label]), (left[label], wide[label])))
                frame = (int(left[label]), int(top[label]), int(wide[label]), int(tall[label]))
                found.append((float(across[label]), np.asarray(labels[rows, columns] == label), frame))
    return found


def _ground(gray: Gray, reach: int) -> Gray:
    """The film without what is brighter than its surroundings and narrower than `reach` pixels, found at half size."""
    height, width = gray.shape
    half = cv2.resize(gray, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    side = max(1, reach // 2) | 1
    opened = cv2.morphologyEx(half, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, (side, side)))
    return np.asarray(cv2.resize(opened, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _in_word(label: int, stats: npt.NDArray[Any]) -> bool:
    """Whether another shape of about its height stands beside it; stats as of connectedComponentsWithStats."""
    left, top, wide, tall, _ = (int(number) for number in stats[label])
    lefts, tops, wides, talls = (stats[1:, column] for column in range(4))
    gap = np.maximum(lefts - (left + wide), left - (lefts + wides))
    # Far inside of one another is no neighbour: many markers are letters in a box.
    beside = (gap < NEAR * tall) & (gap > -0.3 * wide) & (np.abs(tops + talls / 2 - (top + tall / 2)) < 0.5 * tall)
    beside &= (talls < AS_HIGH * tall) & (AS_HIGH * talls > tall)
    beside[label - 1] = False
    return bool(beside.any())


def _holes(shape: BoolArray) -> int:
    """How many holes a shape has, without single pixels."""
    around = np.pad(~shape, 1, constant_values=True).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(around, connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > 0.01 * shape.size).sum()) - 1


def _convexity(tile: BoolArray) -> float:
    """Area of a shape, its holes filled, over that of its convex hull."""
    outlines, _ = cv2.findContours(np.pad(tile, 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    return float(cv2.contourArea(outline)) / max(float(cv2.contourArea(cv2.convexHull(outline))), 1.0)


def _read(shape: BoolArray) -> tuple[str, bool, float] | None:
    """The letter that a shape is, whether mirrored, and the overlap; None where it is neither, or both as well."""
    tile = _tile(shape)
    scores = {(name, mirrored): 0.0 for name in LETTERS for mirrored in (False, True)}
    for name, drawn in _drawn():
        for mirrored in (False, True):
            other = drawn[:, ::-1] if mirrored else drawn
            overlap = float((tile & other).sum()) / float((tile | other).sum())
            scores[name, mirrored] = max(scores[name, mirrored], overlap)
    best = max(scores, key=lambda key: scores[key])
    rest = max(score for key, score in scores.items() if key != best)
    if scores[best] < ALIKE or scores[best] < rest + MARGIN:
        return None
    if _holes(shape) != HOLES[best[0]] or _convexity(tile) > CONVEX[best[0]]:
        return None
    return *best, scores[best]


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
