"""The film gate: false alarms on films, and what it catches that is none, or lies the wrong way."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
import skimage
from PIL import Image

from medinterp.errors import FilmWithheldError, MedInterpError
from medinterp.evaluation.gate import CHANGES, evaluate_gate, gate_film
from medinterp.imaging import FilmLimits, look, read_film, withhold
from medinterp.imaging.markers import read_markers, reduced_copy
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film
from medinterp.types import Film, FilmWarning

Pixels = np.ndarray


def withheld(pixels: Pixels) -> str | None:
    """The code of what withholds a report, or None."""
    codes = [warning.code for warning in look(np.ascontiguousarray(pixels)) if warning.withholds]
    return codes[0] if codes else None


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    """On 500 films never looked at while the gate's thresholds were chosen."""
    return evaluate_gate(500)


def test_false_alarms_on_films(measured: dict[str, Any]) -> None:
    assert measured["films"] == 500
    assert measured["false_alarms"]["value"] <= 0.01


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_is_no_film_or_lies_the_wrong_way(measured: dict[str, Any], name: str) -> None:
    told = measured["told"][name]
    assert told["films"] > 300
    assert told["value"] >= 0.98


def test_without_a_marker_a_mirrored_film_cannot_be_told_and_is_not() -> None:
    unmarked = [k for k in range(100) if sample_film(TEST_SEEDS_START + k).distractors.marker is None]
    assert len(unmarked) > 20
    assert [withheld(gate_film(k)[:, ::-1]) for k in unmarked] == [None] * len(unmarked)


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
    assert {(marker.letter, marker.reversed) for marker in read_markers(reduced_copy(pixels))} == {(letter, reverse)}
    warnings = look(pixels)
    assert [warning.code for warning in warnings] == ([code] if code else [])
    assert [warning.withholds for warning in warnings] == ([code == "mirrored"] if code else [])


@pytest.mark.parametrize("shape", ["square", "triangle", "PORTABLE", "arrow", "J"])
def test_what_is_no_letter_says_nothing(shape: str) -> None:
    """On the side where an R or a reversed L would be on the wrong one."""
    k = next(k for k in range(50) if sample_film(TEST_SEEDS_START + k).distractors.marker is None)
    drawn = draw_film(sample_film(TEST_SEEDS_START + k), 800, 900).uint8()
    corners = {
        "square": [(700, 40), (740, 40), (740, 80), (700, 80)],
        "triangle": [(740, 40), (740, 80), (700, 80)],
        "arrow": [(720, 30), (740, 60), (726, 60), (726, 90), (714, 90), (714, 60), (700, 60)],
    }
    if shape in corners:
        cv2.fillPoly(drawn, [np.array(corners[shape], np.int32)], 255)
    else:
        cv2.putText(drawn, shape, (760 - 28 * len(shape), 75), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 255, 3, cv2.LINE_AA)
    assert look(drawn) == ()


def test_a_letter_in_a_box_is_read() -> None:
    pixels = lettered("R", 0.85, reverse=False)
    cv2.rectangle(pixels, (680, 28), (742, 94), 255, 3)
    assert [warning.code for warning in look(pixels)] == ["marker-side"]


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


def test_what_pydicom_ships_is_no_chest() -> None:
    """CT, MR, ultrasound, nuclear medicine, drawings: of every file that is read, the picture alone says so."""
    told = {}
    for path in sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")):
        try:
            film = read_film(path.read_bytes())
        except MedInterpError:
            continue
        told[path.name] = withheld(film.pixels)
    assert len(told) > 20
    assert [name for name, code in told.items() if code is None] == []


def test_bright_fingers_on_black_are_no_chest() -> None:
    hand = np.zeros((700, 600), np.uint8)
    for k, top in enumerate((260, 90, 50, 80, 170)):
        cv2.line(hand, (300 + 30 * (k - 2), 480), (300 + 95 * (k - 2), top), 130, 46, cv2.LINE_AA)
        cv2.line(hand, (300 + 30 * (k - 2), 480), (300 + 95 * (k - 2), top), 220, 18, cv2.LINE_AA)
    cv2.ellipse(hand, (300, 520), (110, 130), 0, 0, 360, 160, -1)
    assert withheld(hand) == "not-chest"


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_film_on_black_is_still_one(share: float) -> None:
    """Padded to a square, or collimated, as archives keep many."""
    film = gate_film(3)
    width = film.shape[1]
    beside = int(share * width / (1 - share) / 2)
    assert look(cv2.copyMakeBorder(film, 0, 0, beside, beside, cv2.BORDER_CONSTANT, value=0)) == ()


def test_looking_takes_little_time() -> None:
    """On one core, for a large 16-bit film: 25 ms on the machine that this was written on, and room for slower ones."""
    pixels = cv2.resize(draw_film(sample_film(TEST_SEEDS_START), 1250, 1500).uint16(), (2500, 3000))
    look(pixels)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        taken = []
        for _ in range(5):
            started = time.process_time()
            look(pixels)
            taken.append(time.process_time() - started)
    finally:
        cv2.setNumThreads(threads)
    assert min(taken) < 0.1


def test_odd_sizes_and_blank_films() -> None:
    for shape in ((32, 32), (32, 160), (1000, 200), (3000, 2500)):
        assert look(np.full(shape, 7, np.uint8)) == ()
        assert look(np.zeros(shape, np.uint16)) == ()
        assert withheld(np.random.default_rng(0).integers(0, 65536, shape, dtype=np.uint16)) in ("noise", "not-chest")
    for side in (64, 100, 3000):
        drawn = draw_film(sample_film(TEST_SEEDS_START), side, side)
        assert look(drawn.uint8()) == look(drawn.uint16()) == ()


def test_withhold() -> None:
    pixels = gate_film(0)
    fine = Film(pixels, "image/png", "0", warnings=(FilmWarning("low-contrast", "Faint."),))
    withhold(fine)
    told = (FilmWarning("noise", "This is noise."), FilmWarning("turned", "On its side.", withholds=True))
    with pytest.raises(FilmWithheldError, match=r"^On its side\. No report was written.*force=true"):
        withhold(Film(pixels, "image/png", "0", warnings=told))


def test_what_is_read_carries_what_was_seen() -> None:
    done, data = cv2.imencode(".png", 255 - gate_film(1))
    assert done
    read = read_film(data.tobytes(), limits=FilmLimits())
    assert [(warning.code, warning.withholds) for warning in read.warnings] == [("inverted", True)]
