"""Does the film gate let films pass, and stop what is none or lies the wrong way?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.evaluation.intervals import bootstrap_rate
from medinterp.imaging.gate import look
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film

SIZES = ((450, 500), (500, 450), (480, 360), (320, 400), (320, 320))
"""Width and height of the films, one after the other."""

Pixels = npt.NDArray[np.uint8]


def gate_film(k: int) -> Pixels:
    """Film k of those that no threshold was chosen on, uint8 [height, width]."""
    return draw_film(sample_film(TEST_SEEDS_START + k), *SIZES[k % len(SIZES)]).uint8()


def noise(k: int, film: Pixels) -> Pixels:
    """White noise, or noise of some grain, of the film's size."""
    rng = np.random.default_rng([k, 1])
    drawn = rng.normal(size=film.shape).astype(np.float32)
    if k % 2:
        drawn = np.asarray(cv2.GaussianBlur(drawn, (0, 0), float(rng.uniform(1, 12))), dtype=np.float32)
    low, high = float(drawn.min()), float(drawn.max())
    return np.asarray(np.rint((drawn - low) / (high - low) * 255), dtype=np.uint8)


def page_of_text(k: int, film: Pixels) -> Pixels:
    """Lines of letters in one of five faces, black on white or white on black."""
    rng = np.random.default_rng([k, 2])
    height, width = film.shape
    page = np.full((height, width), 255, dtype=np.uint8)
    size = float(rng.uniform(0.4, 1.1))
    for row in range(int(30 * size), height, int(34 * size)):
        letters = "".join(rng.choice(list("abcdefghijklmnopq rst"), int(width / (13 * size))))
        cv2.putText(page, letters, (8, row), int(rng.integers(5)), size, 0, 1 + int(rng.integers(2)), cv2.LINE_AA)
    return page if k % 2 else 255 - page


def cropped_to_nothing(k: int, film: Pixels) -> Pixels:
    """A piece of a fifth to a third of the film's sides."""
    rng = np.random.default_rng([k, 3])
    height, width = (int(side * rng.uniform(0.2, 0.33)) for side in film.shape)
    top, left = int(rng.integers(film.shape[0] - height)), int(rng.integers(film.shape[1] - width))
    return film[top : top + height, left : left + width]


CHANGES: Mapping[str, tuple[Callable[[int, Pixels], Pixels], frozenset[str]]] = {
    "inverted": (lambda k, film: 255 - film, frozenset({"inverted"})),
    "turned to the left": (lambda k, film: np.rot90(film), frozenset({"turned"})),
    "turned to the right": (lambda k, film: np.rot90(film, 3), frozenset({"turned"})),
    "turned by 180 degrees": (lambda k, film: film[::-1, ::-1], frozenset({"upside-down"})),
    "head and feet exchanged": (lambda k, film: film[::-1], frozenset({"upside-down"})),
    "inverted and turned": (lambda k, film: 255 - np.rot90(film), frozenset({"inverted-and-turned"})),
    "mirrored, with a marker": (lambda k, film: film[:, ::-1], frozenset({"mirrored"})),
    "cropped to nothing": (cropped_to_nothing, frozenset()),
    "noise": (noise, frozenset()),
    "page of text": (page_of_text, frozenset()),
}
"""What is made of a film, and the codes of which one must be told (any, where none is named)."""


def evaluate_gate(films: int = 500, *, progress: Callable[[int], Any] | None = None) -> dict[str, Any]:
    """False alarms on synthetic films, and the share of each change that is told for what it is, with intervals."""
    alarms: list[list[float]] = []
    caught: dict[str, list[list[float]]] = {name: [] for name in CHANGES}
    for k in range(films):
        film = gate_film(k)
        alarms.append([float(bool(look(film)))])
        marked = sample_film(TEST_SEEDS_START + k).distractors.marker is not None
        for name, (change, codes) in CHANGES.items():
            if "marker" in name and not marked:
                continue
            told = {warning.code for warning in look(np.ascontiguousarray(change(k, film)))}
            caught[name].append([float(bool(told & codes if codes else told))])
        if progress is not None:
            progress(1)
    rng = np.random.default_rng(0)
    return {
        "films": films,
        "false_alarms": bootstrap_rate(alarms, rng),
        "told": {name: {"films": len(rates), **bootstrap_rate(rates, rng)} for name, rates in caught.items()},
    }
