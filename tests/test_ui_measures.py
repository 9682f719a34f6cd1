"""What can be measured on the film: all of its grays, lengths, sides, and how much of a map lies on it."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from medinterp.relevancy import select_map
from medinterp.types import PixelSpacing
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEIGHT,
    NODULE,
    REPORT,
    WIDTH,
    api,
    choose_method,
    drag_on_film,
    fake_films,
    film,
    page,
    press,
    take_example,
    wait_paths,
)

pytestmark = pytest.mark.filterwarnings("error")

DEEP = (21000 + 3 * np.add.outer(np.arange(HEIGHT), np.arange(WIDTH))).astype(np.uint16)
"""A slope over 1,974 of 65,536 grays: eight of 256."""
SLIDE = (
    "const field = document.getElementById(arguments[0]); field.value = arguments[1];"
    " field.dispatchEvent(new Event('input'))"
)


def said(page: Page) -> str:
    """For those who do not see the line."""
    return str(page.run("return document.getElementById('medinterp-ruler-said').textContent"))


def read(page: Page, film: Path) -> None:
    page.upload(film)
    page.read()


def test_a_window_works_on_all_grays(page: Page, api: FakeApi, film: Path) -> None:
    """They come once, when they are wanted first; a narrow window then shows each of them."""
    api.deep = DEEP
    read(page, film)
    assert api.paths("GET", "depth=16") == []
    page.element("zoom-own").click()
    page.run(SLIDE, "medinterp-level", 34)
    page.run(SLIDE, "medinterp-width", 5)
    page.wait("return document.getElementById('medinterp-window-facts').textContent.includes('65,536')")
    assert page.text("window-facts") == "Level 34.0 %, width 5.0 % of 65,536 grays"
    left, top, width, height = (round(number) for number in page.film_place())
    assert (width, height) == (WIDTH, HEIGHT)
    shown = page.canvas("film")[top : top + height, left : left + width, 0]
    expected = np.clip(255 * (DEEP / 65535 - (0.34 - 0.025)) / 0.05, 0, 255)
    assert np.abs(shown - expected).max() <= 1
    assert len(np.unique(shown)) > 100, "a window of 8-bit leftovers has at most eight shades here"
    with page.asks_nothing():
        page.run(SLIDE, "medinterp-level", 33)
        press(page, "i")
    assert len(api.paths("GET", "depth=16")) == 1
    page.element("zoom-fit").click()
    page.run("document.getElementById('medinterp-stage').focus()")
    press(page, Keys.SPACE)
    assert page.text("window-facts") == ""
    take_example(page, 1)
    page.read()
    press(page, "3")
    wait_paths(api, "depth=16", 2)


def test_a_film_of_8_bits_is_not_asked_for_more(page: Page, api: FakeApi, film: Path) -> None:
    read(page, film)
    with page.asks_nothing():
        press(page, "2")
        assert page.text("window-facts").startswith("Level ")
        assert "grays" not in page.text("window-facts")
        assert page.element("preset").get_property("value") == "1"


def test_a_length(page: Page, api: FakeApi, film: Path) -> None:
    """In millimetres where the pixels' size is known, and said where that holds; else in pixels."""
    api.spacing = PixelSpacing(0.5, "detector")
    read(page, film)
    press(page, "l")
    assert not page.element("ruler-length").is_displayed()
    drag_on_film(page, (0.2, 0.5), (0.8, 0.5))
    length = 0.6 * WIDTH * 0.5
    assert page.element("ruler-length").is_displayed()
    assert int(page.text("ruler-length").removesuffix(" mm at the detector")) == pytest.approx(length, abs=2)
    assert said(page).endswith("mm at the detector: the patient's own is smaller")
    place = page.element("ruler-length").rect
    page.element("zoom-in").click()
    assert page.element("ruler-length").rect != place, "it goes with the film"
    assert int(page.text("ruler-length").removesuffix(" mm at the detector")) == pytest.approx(length, abs=2)
    page.run("document.getElementById('medinterp-stage').focus()")
    press(page, Keys.ESCAPE)
    assert not page.element("ruler-length").is_displayed()
    press(page, Keys.ARROW_RIGHT)  # the line is there, from 0.4 to 0.6
    press(page, Keys.ARROW_RIGHT)  # and longer by a hundredth of the longer side
    assert page.text("ruler-length") == f"{(0.2 * WIDTH + 0.01 * HEIGHT) * 0.5:.0f} mm at the detector"
    api.spacing = None
    page.read()
    assert not page.element("ruler-length").is_displayed(), "it was another report's"
    drag_on_film(page, (0.2, 0.5), (0.8, 0.5))
    assert "pixels: the file does not say how large they are" in said(page)


@pytest.mark.parametrize(("told", "letters"), [(True, ("R", "L")), (False, ("R?", "L?"))])
def test_sides(page: Page, api: FakeApi, film: Path, told: bool, letters: tuple[str, str]) -> None:
    """R on the left and L on the right once the film was read, with a question mark where the file does not say so."""
    api.sides_told = told
    page.upload(film)
    assert not page.element("side-right").is_displayed(), "nobody knows yet how it lies"
    page.read()
    right, left = page.element("side-right"), page.element("side-left")
    assert (right.text, left.text) == letters
    assert right.rect["x"] < left.rect["x"]
    assert ("header" in right.get_attribute("title")) is told


def test_the_share_of_the_map_on_the_film(page: Page, api: FakeApi, film: Path) -> None:
    """Said beside the colours of methods whose values are attention, and of no others."""
    read(page, film)
    page.word(NODULE).click()
    page.wait_overlay()
    on_film = 100 * select_map(api.pack("raw"), REPORT.words[NODULE].token_indices).values.sum()
    said = page.text("key-share")
    assert said.endswith(" % on the film")
    assert float(said.split()[0]) == pytest.approx(on_film, abs=0.6)
    assert "attention weight" in page.element("key").get_attribute("title")
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-key-low').textContent.startsWith('against')")
    assert page.text("key-share") == ""
    assert "nats" in page.element("key").get_attribute("title")


def test_zooming_by_dragging(page: Page, api: FakeApi, film: Path) -> None:
    """Upwards is nearer, and what was taken hold of stays under the pointer's start."""
    read(page, film)
    before = page.film_place()
    press(page, "z")
    with page.asks_nothing():
        drag_on_film(page, (0.5, 0.8), (0.5, 0.3))
    after = page.film_place()
    assert after[2] > 1.5 * before[2]
    assert after[1] + 0.8 * after[3] == pytest.approx(before[1] + 0.8 * before[3], abs=5)
