"""The film gate: is this a frontal chest film, the right way up and the right way round, by its look alone?

A small copy of the film is correlated with a drawn chest (two dark lungs between bright flanks, a bright midline, a
bright abdomen), as it is, turned, upside down and inverted. A film that is a chest one way only says which way it lies.
Thresholds: on films of training seeds, which reach 0.67, and pictures that are no films, which stay below 0.48.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmWithheldError
from medinterp.imaging.markers import doubts_of_markers, reduced_copy
from medinterp.types import Film, FilmWarning, Float32Array

SIDE = 64
"""Rows and columns of the small copy."""
SCALES = (48, 52, 58, 64)
"""Sizes of the drawn chest in it: films are cropped more or less closely."""
CHEST, HARDLY, TURNED = 0.53, 0.45, 0.6
"""Correlation from which on it is a chest, below which it is none, and from which on it is one in another position."""
GRAIN = 0.12
"""Share of a film's variance that is left when 8 x 8 pixels are averaged, below which there is nothing but noise."""
PAPER = 0.55
"""Share of the pixels that have one and the same brightest or darkest gray on a page of text."""

NOT_CHEST = "This does not look like a frontal chest film."


def look(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> tuple[FilmWarning, ...]:
    """What is doubtful about a film by its look; pixels as in Film, of any size."""
    reduced = reduced_copy(pixels)
    small = small_copy(reduced)
    if float(small.std()) == 0.0:
        return ()  # nothing to see: check_picture says so
    chest = _likeness(small)
    turned = {
        "inverted": _likeness(-small),
        "turned": max(_likeness(np.rot90(small, turns)) for turns in (1, 3)),
        "upside-down": _likeness(small[::-1]),
        "inverted and turned": max(_likeness(-np.rot90(small, turns)) for turns in (1, 3)),
        "inverted and upside-down": _likeness(-small[::-1]),
    }
    way = max(turned, key=lambda name: turned[name])
    if chest >= CHEST:
        return doubts_of_markers(reduced)
    if turned[way] >= TURNED:
        return (FilmWarning(way.replace(" ", "-"), _WAYS[way], withholds=True),)
    if _is_noise(pixels):
        return (FilmWarning("noise", "This is noise, not the picture of a body.", withholds=True),)
    if _is_text(pixels):
        return (FilmWarning("text", "This is a page of text or a drawing, not a film.", withholds=True),)
    if chest < HARDLY:
        return (FilmWarning("not-chest", NOT_CHEST, withholds=True),)
    doubt = "This hardly looks like a frontal chest film: lungs, midline and abdomen are not where they mostly are."
    return (FilmWarning("hardly-chest", doubt), *doubts_of_markers(reduced))


_WAYS = {
    "inverted": "The film is inverted: it looks like a chest only with black and white exchanged.",
    "turned": "The film lies on its side: it looks like a chest only when turned by 90 degrees.",
    "upside-down": "The film is upside down: it looks like a chest only with head and feet exchanged.",
    "inverted and turned": "The film is inverted and lies on its side: it looks like a chest only the other way.",
    "inverted and upside-down": "The film is inverted and upside down: it looks like a chest only the other way.",
}


def withhold(film: Film) -> None:
    """Raise FilmWithheldError when one of the film's warnings makes a report meaningless."""
    withholding = tuple(warning for warning in film.warnings if warning.withholds)
    if withholding:
        raise FilmWithheldError(withholding)


def small_copy(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> Float32Array:
    """The film squeezed to SIDE x SIDE, half its gray values, half their ranks: whatever its window, -0.5 to 0.5."""
    gray = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = np.percentile(gray, (2, 98))
    if high <= low:
        return np.zeros((SIDE, SIDE), dtype=np.float32)
    ranks = np.empty(gray.size, dtype=np.float32)
    ranks[np.argsort(gray.ravel(), kind="stable")] = np.linspace(0.0, 1.0, gray.size, dtype=np.float32)
    mixed = 0.5 * ranks.reshape(gray.shape) + 0.5 * np.clip((gray - low) / (high - low), 0.0, 1.0)
    return np.asarray(mixed - 0.5, dtype=np.float32)


def _likeness(small: Float32Array) -> float:
    """The best normalised correlation with the drawn chest, over its sizes and places, -1 to 1."""
    film = np.ascontiguousarray(small)
    found = [cv2.matchTemplate(film, chest, cv2.TM_CCOEFF_NORMED) for chest in _chests()]
    return max(float(each[np.isfinite(each)].max(initial=-1.0)) for each in found)


@functools.cache
def _chests() -> tuple[Float32Array, ...]:
    return tuple(drawn_chest(side) for side in SCALES)


def drawn_chest(side: int) -> Float32Array:
    """A frontal chest as most films show it, float32 [side, side]; left and right alike.

    Its outlines were fitted to the mean of synthetic films and of lung outlines drawn on real ones.
    """
    down, across = (np.mgrid[0:side, 0:side].astype(np.float32) + 0.5) / side
    aside = np.abs(across - 0.5)
    shoulders = np.where(down < 0.2, 0.11 + 0.39 * np.clip((down - 0.03) / 0.17, 0, 1) ** 1.6, 0.5)
    body = _inside(aside - shoulders, 0.03)
    ribs = 0.4 * np.clip((down - 0.13) / 0.6, 1e-4, 1) ** 0.26
    dome = 0.77 - 0.05 * np.cos(np.clip((aside - 0.2) / 0.2, -1, 1) * np.pi / 2)
    lungs = _inside(aside - ribs, 0.025) * _inside(0.06 - aside, 0.02) * _inside(down - dome, 0.04)
    spine = _inside(aside - 0.06, 0.02)
    heart = _inside(np.hypot(aside / 0.17, (down - 0.6) / 0.16) - 1, 0.2)
    abdomen = np.clip((down - 0.6) / 0.4, 0, 1)
    return np.asarray(0.52 * body - 0.93 * lungs + 0.34 * spine + 0.28 * heart + 0.14 * abdomen, dtype=np.float32)


def _inside(distance: npt.NDArray[np.float32], softness: float) -> npt.NDArray[np.float32]:
    """1 where the distance is negative, 0 where it is positive, with a soft edge."""
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(distance / softness, -30, 30))), dtype=np.float32)


def _is_noise(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bool:
    """Whether averaging neighbours leaves next to nothing."""
    height, width = pixels.shape
    gray = pixels.astype(np.float32)
    smooth = cv2.resize(gray, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    return float(smooth.var()) < GRAIN * float(gray.var())


def _is_text(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> bool:
    """Whether most of the picture is one even ground, nearly white or black, with strokes on it."""
    levels = (pixels[:: max(1, pixels.shape[0] // 512), :: max(1, pixels.shape[1] // 512)]).astype(np.float32)
    levels *= 255.0 / float(np.iinfo(pixels.dtype).max)
    ground = float(np.median(levels))
    even = float((np.abs(levels - ground) < 12).mean())
    strokes = float((np.abs(levels - ground) > 80).mean())
    return even > PAPER and 0.01 < strokes < 0.4 and not 60 < ground < 180
