"""What stands in a picture's place when it is taken away: a blank film, and other films."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from medinterp.errors import SelectionError
from medinterp.types import Film

_HEALTHY = (9_000_001, 9_000_002)
_SICK = (9_000_011, 9_000_012)


def blank_film(film: Film) -> Film:
    """The film without a picture: everywhere its own mean level."""
    level = np.full_like(film.pixels, round(float(film.pixels.mean())))
    return Film(pixels=level, media_type=film.media_type, sha256=f"blank-{film.sha256}")


@lru_cache(maxsize=1)
def swapped_films() -> tuple[Film, ...]:
    """Four drawn chests that take another film's place: two without a finding, and two with several.

    They are synthetic, so that no patient's film ever stands in another's; their seeds belong to no test. A healthy
    one shows what falls when a finding goes, a sick one what falls when findings come.
    """
    from medinterp.phantom.films import draw_film, sample_crowded_film, sample_film

    films = []
    for seed in _HEALTHY:
        film = sample_film(seed)
        while film.findings:
            film = film.without(0)
        films.append(film)
    films += [sample_crowded_film(seed) for seed in _SICK]
    return tuple(
        Film(pixels=draw_film(film, 768, 768).uint8(), media_type="image/png", sha256=f"synthetic-{film.seed}")
        for film in films
    )


def resized(film: Film, shape: tuple[int, int]) -> Film:
    """The film stretched to a height and width, pixels."""
    import cv2

    height, width = shape
    pixels: Any = cv2.resize(film.pixels, (width, height), interpolation=cv2.INTER_AREA)
    return replace(film, pixels=pixels)


def fill_films(film: Film, swaps: Sequence[Film] | None = None) -> tuple[Film, ...]:
    """The blank film first, then the swapped ones (those of `swapped_films` unless given).

    Raises SelectionError where none are given.
    """
    if swaps is not None and not swaps:
        raise SelectionError("at least one other film is needed to take this one's place")
    return (blank_film(film), *(swapped_films() if swaps is None else swaps))
