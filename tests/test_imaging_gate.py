"""The film gate: false alarms on films, and what it catches that is none, or lies the wrong way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage
from PIL import Image

from medinterp.errors import FilmWithheldError
from medinterp.imaging import FilmLimits, look, read_film, withhold
from medinterp.imaging.markers import read_markers
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film
from medinterp.types import Film, FilmWarning

FILMS = 500
SIZES = ((450, 500), (500, 450), (480, 360), (320, 400), (320, 320))
Pixels = np.ndarray


@functools.cache
def film(k: int) -> Pixels:
    """A film never looked at while the gate's thresholds were chosen, uint8."""
    return draw_film(sample_film(TEST_SEEDS_START + k), *SIZES[k % len(SIZES)]).uint8()


def withheld(pixels: Pixels) -> str | None:
    """The code of what withholds a report, or None."""
    codes = [warning.code for warning in look(np.ascontiguousarray(pixels)) if warning.withholds]
    return codes[0] if codes else None


def test_false_alarms_on_films() -> None:
    alarms = [k for k in range(FILMS) if look(film(k))]
    assert len(alarms) <= FILMS // 100, alarms


POSITIONS: dict[str, tuple[Callable[[Pixels], Pixels], str]] = {
    "inverted": (lambda film: 255 - film, "inverted"),
    "to the left": (np.rot90, "turned"),
    "to the right": (lambda film: np.rot90(film, 3), "turned"),
    "upside down": (lambda film: film[::-1, ::-1], "upside-down"),
    "flipped": (lambda film: film[::-1], "upside-down"),
    "inverted, on its side": (lambda film: 255 - np.rot90(film), "inverted-and-turned"),
}


@pytest.mark.parametrize("name", sorted(POSITIONS))
def test_the_wrong_way(name: str) -> None:
    change, code = POSITIONS[name]
    told = [withheld(change(film(k))) for k in range(200)]
    assert told.count(code) >= 0.98 * len(told)


def test_mirrored_films_by_their_marker() -> None:
    """Where a marker was drawn; without one nothing can be told, and nothing is."""
    told, silent = [], []
    for k in range(200):
        marker = sample_film(TEST_SEEDS_START + k).distractors.marker
        (silent if marker is None else told).append(withheld(film(k)[:, ::-1]))
    assert told.count("mirrored") >= 0.98 * len(told)
    assert len(told) > 100
    assert silent.count(None) == len(silent)


def lettered(letter: str, across: float, *, reverse: bool) -> Pixels:
    """A film without a marker of its own, and one put on it."""
    k = next(k for k in range(50) if sample_film(TEST_SEEDS_START + k).distractors.marker is None)
    drawn = draw_film(sample_film(TEST_SEEDS_START + k), 800, 900).uint8()
    tile = np.zeros((60, 60), np.uint8)
    cv2.putText(tile, letter, (10, 48), cv2.FONT_HERSHEY_DUPLEX, 1.7, 255, 5, cv2.LINE_AA)
    tile = tile[:, ::-1] if reverse else tile
    left = int(across * 800)
    drawn[30:90, left : left + 60] = np.maximum(drawn[30:90, left : left + 60], tile)
    return drawn


@pytest.mark.parametrize(
    ("letter", "across", "reverse", "code"),
    [
        ("L", 0.85, False, None),
        ("R", 0.08, False, None),
        ("L", 0.85, True, None),  # taped on the wrong way round, as real ones are: the film is not mirrored
        ("R", 0.08, True, None),
        ("L", 0.08, True, "mirrored"),
        ("R", 0.85, True, "mirrored"),
        ("L", 0.08, False, "marker-side"),
        ("R", 0.85, False, "marker-side"),
    ],
)
def test_a_marker_is_read_with_the_side_it_lies_on(letter: str, across: float, reverse: bool, code: str | None) -> None:
    pixels = lettered(letter, across, reverse=reverse)
    assert {(marker.letter, marker.reversed) for marker in read_markers(pixels)} == {(letter, reverse)}
    warnings = look(pixels)
    assert [warning.code for warning in warnings] == ([code] if code else [])
    assert [warning.withholds for warning in warnings] == ([code == "mirrored"] if code else [])


def noise(seed: int) -> Pixels:
    """White noise, or noise of some grain."""
    rng = np.random.default_rng([seed, 1])
    drawn = rng.normal(size=(400, 360)).astype(np.float32)
    if seed % 2:
        drawn = cv2.GaussianBlur(drawn, (0, 0), float(rng.uniform(1, 12)))
    low, high = float(drawn.min()), float(drawn.max())
    return np.rint((drawn - low) / (high - low) * 255).astype(np.uint8)


def text(seed: int) -> Pixels:
    """A page, black on white or white on black."""
    rng = np.random.default_rng([seed, 2])
    page = np.full((560, 400), 255, np.uint8)
    size = float(rng.uniform(0.4, 1.1))
    for row in range(int(30 * size), 560, int(34 * size)):
        letters = "".join(rng.choice(list("abcdefghijklmnopq rst"), int(400 / (13 * size))))
        cv2.putText(page, letters, (8, row), int(rng.integers(5)), size, 0, 1 + int(rng.integers(2)), cv2.LINE_AA)
    return page if seed % 2 else 255 - page


def cropped(seed: int) -> Pixels:
    """A piece of a film, a fifth to a third of its sides."""
    rng = np.random.default_rng([seed, 3])
    whole = film(seed % 100)
    height, width = (int(side * rng.uniform(0.2, 0.33)) for side in whole.shape)
    top, left = int(rng.integers(whole.shape[0] - height)), int(rng.integers(whole.shape[1] - width))
    return whole[top : top + height, left : left + width]


@pytest.mark.parametrize(("make", "films"), [(noise, 100), (text, 100), (cropped, 200)])
def test_no_film_at_all(make: Callable[[int], Pixels], films: int) -> None:
    told = [bool(look(np.ascontiguousarray(make(seed)))) for seed in range(films)]
    assert told.count(True) >= 0.98 * films


PICTURES = sorted(
    path for path in (Path(skimage.__file__).parent / "data").iterdir() if path.suffix in (".png", ".jpg")
)


def test_pictures_that_another_package_ships() -> None:
    """Photographs, textures, pages, a drawing: as they are, in parts, and turned."""
    told = []
    for path in PICTURES:
        whole = np.asarray(Image.open(path).convert("L"))
        height, width = whole.shape
        parts = [whole, whole[:, ::-1], np.rot90(whole), 255 - whole]
        parts += [whole[: height * 2 // 3, : width * 2 // 3], whole[height // 3 :, width // 3 :]]
        told += [(path.name, bool(look(np.ascontiguousarray(part)))) for part in parts]
    assert len(told) > 100
    missed = [name for name, caught in told if not caught]
    assert len(missed) <= 0.02 * len(told), missed


def test_odd_sizes_and_blank_films() -> None:
    for shape in ((32, 32), (32, 160), (1000, 200), (3000, 2500)):
        assert look(np.full(shape, 7, np.uint8)) == ()
        assert look(np.zeros(shape, np.uint16)) == ()
        assert withheld(np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)) in ("noise", "not-chest")
    for side in (64, 100, 3000):
        drawn = draw_film(sample_film(TEST_SEEDS_START), side, side)
        assert look(drawn.uint8()) == look(drawn.uint16()) == ()


def test_withhold() -> None:
    pixels = film(0)
    fine = Film(pixels, "image/png", "0", warnings=(FilmWarning("low-contrast", "Faint."),))
    withhold(fine)
    told = (FilmWarning("noise", "This is noise."), FilmWarning("turned", "On its side.", withholds=True))
    with pytest.raises(FilmWithheldError, match=r"^On its side\. No report was written.*force=true"):
        withhold(Film(pixels, "image/png", "0", warnings=told))


def test_what_is_read_carries_what_was_seen() -> None:
    done, data = cv2.imencode(".png", 255 - film(1))
    assert done
    read = read_film(data.tobytes(), limits=FilmLimits())
    assert [(warning.code, warning.withholds) for warning in read.warnings] == [("inverted", True)]
