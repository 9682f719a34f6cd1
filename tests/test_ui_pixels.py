"""What is drawn in the browser is what the server draws: canvas against `medinterp.render.overlay`, pixel by pixel."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from selenium.webdriver.support.ui import Select

from medinterp.api.packed import packed_maps
from medinterp.relevancy import select_map
from medinterp.render import RenderOptions, overlay
from medinterp.types import Film
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    OCCLUSION,
    REPORT,
    api,
    choose_method,
    fake_films,
    film,
    page,
    wait_drawn,
)

pytestmark = pytest.mark.filterwarnings("error")

METHODS = [("raw", "Raw attention"), ("occlusion", OCCLUSION)]
Pixels = npt.NDArray[np.uint8]


def textured(width: int, height: int) -> Pixels:
    """A film of soft clouds with sharp edges, uint8 [height, width]."""
    y, x = np.mgrid[0:height, 0:width]
    clouds = 90 + 60 * np.sin(x / 37) * np.cos(y / 29) + 40 * np.sin((x + y) / 91)
    clouds[height // 3 : height // 2, width // 4 : width // 3] = 250
    clouds[:: max(1, height // 7), :] = 12
    return np.clip(clouds + np.random.default_rng(1).normal(0, 6, clouds.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def one_to_one(page: Page, tmp_path: Path) -> Callable[..., Pixels]:
    """Read a film that is exactly as large as the stage, with a word selected: one pixel of it is one on the screen."""

    def read(method: str = "raw", title: str = "Raw attention", word: int = NODULE) -> Pixels:
        size = (400, 300)
        for _ in range(3):
            pixels = textured(*size)
            path = tmp_path / f"film-{size[0]}-{size[1]}.png"
            Image.fromarray(pixels).save(path)
            page.upload(path)
            page.read()
            page.word(word).click()
            choose_method(page, method)
            wait_drawn(page, title)
            if page.film_place() == [0, 0, *size]:
                return pixels
            stage = page.element("stage").size
            size = (stage["width"], stage["height"])
        raise AssertionError(f"the film does not lie on the stage pixel by pixel: {page.film_place()}, {size}")

    return read


def seen(page: Page) -> Pixels:
    """Film and map as they lie over each other, uint8 [height, width, 3]."""
    data = page.run(
        "const film = document.getElementById('medinterp-film'), map = document.getElementById('medinterp-overlay');"
        "const both = document.createElement('canvas');"
        "Object.assign(both, { width: film.width, height: film.height });"
        "const context = both.getContext('2d');"
        "for (const canvas of [film, map]) if (!canvas.hidden) context.drawImage(canvas, 0, 0);"
        "return both.toDataURL('image/png')"
    )
    picture = Image.open(io.BytesIO(base64.b64decode(str(data).partition(",")[2])))
    return np.asarray(picture.convert("RGB"))


def drawn(
    pixels: Pixels, api: FakeApi, method: str, options: RenderOptions, word: int = NODULE, *, stretched: bool = False
) -> Pixels:
    """The same by the server's code, from the pack that the page got."""
    pack = api.pack(method)
    shared = packed_maps("0" * 32, pack, REPORT.words).ranges.relevancy
    chosen = select_map(pack, REPORT.words[word].token_indices)
    return overlay(Film(pixels, "image/png", "ab" * 32), chosen, options, value_range=None if stretched else shared)


def apart(one: Pixels, other: Pixels) -> npt.NDArray[np.int16]:
    """The largest difference of a channel at each pixel."""
    assert one.shape == other.shape
    return np.abs(one.astype(np.int16) - other.astype(np.int16)).max(axis=2)


def assert_alike(difference: npt.NDArray[np.int16]) -> None:
    """Within two levels but for one in 2,000; a canvas rounds three times (opacity, premultiplied colour, sum)."""
    assert difference.max() <= 4
    assert (difference > 2).mean() <= 1 / 2000


@pytest.mark.parametrize("stretched", [False, True])
@pytest.mark.parametrize("colours", ["", "viridis"])
@pytest.mark.parametrize(("method", "title"), METHODS)
def test_the_canvas_is_the_overlay(
    page: Page, api: FakeApi, one_to_one: Callable[..., Pixels], method: str, title: str, colours: str, stretched: bool
) -> None:
    """For plain and signed maps, on the report's scale and, of a faint word, on its own."""
    word = HEARTS if stretched else NODULE
    pixels = one_to_one(method, title, word)
    if stretched:
        page.element("scale-map").click()
    Select(page.element("colormap")).select_by_value(colours)
    assert page.film_place()[2:] == [pixels.shape[1], pixels.shape[0]], "the stage has kept its size"
    options = RenderOptions(opacity=0.5, colormap=colours or None)
    server = drawn(pixels, api, method, options, word, stretched=stretched)
    difference = apart(seen(page), server)
    assert_alike(difference)
    assert apart(server, np.repeat(pixels[..., None], 3, axis=2)).max() > 60, "there is a map to compare"


@pytest.mark.parametrize(("method", "title"), METHODS)
def test_threshold(page: Page, api: FakeApi, one_to_one: Callable[..., Pixels], method: str, title: str) -> None:
    """What is weaker is left out of both, at the same pixels but for one in 2,000, where the values round."""
    pixels = one_to_one(method, title)
    page.run(
        "const t = document.getElementById('medinterp-threshold'); t.value = 0.35; t.dispatchEvent(new Event('input'))"
    )
    server = drawn(pixels, api, method, RenderOptions(cutoff=0.35))
    assert (apart(seen(page), server) > 2).mean() <= 1 / 2000
    assert (server != drawn(pixels, api, method, RenderOptions())).any()


@pytest.mark.parametrize("opacity", [0.3, 1.0])
def test_opacity(page: Page, api: FakeApi, one_to_one: Callable[..., Pixels], opacity: float) -> None:
    pixels = one_to_one()
    page.run(
        "const o = document.getElementById('medinterp-opacity');"
        "o.value = arguments[0]; o.dispatchEvent(new Event('input'))",
        opacity,
    )
    assert_alike(apart(seen(page), drawn(pixels, api, "raw", RenderOptions(opacity=opacity))))


@pytest.mark.parametrize(("method", "title"), METHODS)
def test_contours(page: Page, api: FakeApi, one_to_one: Callable[..., Pixels], method: str, title: str) -> None:
    """The same lines: not one pixel in a hundred is further off than six levels."""
    pixels = one_to_one(method, title)
    page.element("contours").click()
    server = drawn(pixels, api, method, RenderOptions(opacity=0.5, contours=True))
    difference = apart(seen(page), server)
    assert (difference > 6).mean() <= 0.01
    without = apart(server, drawn(pixels, api, method, RenderOptions(opacity=0.5)))
    assert (without > 6).mean() > 0.01, "there are lines to compare"


def test_the_film_alone_is_as_it_was_sent(page: Page, one_to_one: Callable[..., Pixels]) -> None:
    """Without a map every pixel of the film is its own."""
    pixels = one_to_one()
    page.element("show").click()
    assert np.array_equal(seen(page), np.repeat(pixels[..., None], 3, axis=2))


def test_what_is_on_the_screen(page: Page, api: FakeApi, one_to_one: Callable[..., Pixels]) -> None:
    """Not the canvases alone: what the browser shows of them."""
    pixels = one_to_one()
    box = page.run("return document.getElementById('medinterp-film').getBoundingClientRect().toJSON()")
    assert isinstance(box, dict)
    shot = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    left, top = round(box["x"]), round(box["y"])
    picture = np.asarray(shot)[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    server = drawn(pixels, api, "raw", RenderOptions(opacity=0.5))
    height, width = pixels.shape
    middle = np.s_[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]
    assert_alike(apart(picture[middle], server[middle]))
