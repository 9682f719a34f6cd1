"""What tests of the page share: a film with its name, example films, the page before the stand-in for the API.

from tests.page_fixtures import api, fake_films, film, page  # noqa: F401 - pytest finds fixtures by name
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.phantom import ExampleFilm
from medinterp.ui import app as ui_app
from medinterp.ui import create_app
from tests.browser import Page, serve
from tests.page_api import FakeApi, together
from tests.page_reports import fake_report

WIDTH, HEIGHT = 300, 360
REPORT = fake_report()
NODULE = next(word.index for word in REPORT.words if word.text == "nodule")
HEARTS = next(word.index for word in REPORT.words if word.text == "heart")
OCCLUSION = "Occlusion, every cell (exact)"
FILE_NAME = "Doe_Jane_1961.png"


def film_png(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A gray ramp with a bright square, as PNG."""
    pixels = np.tile(np.linspace(0, 160, width, dtype=np.uint8), (height, 1))
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 230
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


EXAMPLES = tuple(ExampleFilm(f"film-{k}", f"Caption {k}", film_png(40 + k, 50)) for k in range(8))


@pytest.fixture
def fake_films(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Eight small example films in place of the drawn ones."""
    monkeypatch.setattr("medinterp.phantom.example_films", lambda: EXAMPLES)
    ui_app.example_pngs.cache_clear()
    yield
    ui_app.example_pngs.cache_clear()


@pytest.fixture
def api() -> FakeApi:
    """The stand-in; a test turns its knobs."""
    return FakeApi()


@pytest.fixture
def page(browser: Page, api: FakeApi, fake_films: None) -> Iterator[Page]:
    """The page, loaded and ready."""
    with serve(together(create_app(), api.app)) as url:
        browser.open(url)
        yield browser
        browser.driver.get("about:blank")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A film whose file name tells who it is of."""
    path = tmp_path / FILE_NAME
    path.write_bytes(film_png())
    return path


def queries(paths: list[str]) -> list[dict[str, str]]:
    """The query parameters of each path."""
    return [{name: values[0] for name, values in parse_qs(urlsplit(path).query).items()} for path in paths]


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something is true on this side."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def wait_paths(api: FakeApi, contains: str, count: int) -> list[str]:
    """Wait until that many GET requests were made; their paths."""
    wait_for(lambda: len(api.paths("GET", contains)) >= count)
    return api.paths("GET", contains)


def chosen_words(page: Page) -> list[int]:
    """The indices of the words that are selected."""
    words = "[...document.querySelectorAll('.medinterp-word[aria-pressed=true]')]"
    found = page.run(f"return {words}.map((word) => Number(word.dataset.wordIndex))")
    assert isinstance(found, list)
    return found


def wait_film(page: Page, width: int) -> None:
    """Wait until a film of that many pixels is on the stage."""
    film = "const f = document.getElementById('medinterp-film');"
    page.wait(f"{film} return f.checkVisibility() && Number(f.dataset.width) === {width}")


def on_film(page: Page, x: float, y: float) -> tuple[int, int]:
    """A point of the film (shares of its width and height) as an offset from the stage's middle."""
    left, top, width, height = page.film_place()
    stage = page.element("stage").size
    return round(left + x * width - stage["width"] / 2), round(top + y * height - stage["height"] / 2)


def drag_on_film(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one point of the film to another with the left button, in a few steps."""
    stage = page.element("stage")
    start, stop = on_film(page, *begin), on_film(page, *end)
    actions = ActionChains(page.driver, duration=20).move_to_element_with_offset(stage, *start).click_and_hold()
    for step in range(1, 6):
        between = [round(a + (b - a) * step / 5) for a, b in zip(start, stop, strict=True)]
        actions.move_to_element_with_offset(stage, *between)
    actions.release().perform()


def press(page: Page, *keys: str, shift: bool = False) -> None:
    """Press keys where the focus is."""
    actions = ActionChains(page.driver)
    if shift:
        actions.key_down(Keys.SHIFT)
    for key in keys:
        actions.send_keys(key)
    if shift:
        actions.key_up(Keys.SHIFT)
    actions.perform()


def open_ask(page: Page) -> None:
    """Film and prompt fold away with the report: have them shown."""
    if not page.element("ask").is_displayed():
        page.run("document.getElementById('medinterp-ask-toggle').click()")


def take_example(page: Page, index: int) -> None:
    """Choose an example film as a reader does."""
    open_ask(page)
    page.element(f"example-{index}").click()


def open_drawer(page: Page, tab: str = "word") -> None:
    """Have a view of the drawer shown, in a window that is too small for it to open by itself too."""
    if not page.element("drawer").is_displayed():
        page.run("document.getElementById('medinterp-drawer-open').click()")
    page.run(f"document.getElementById('medinterp-tab-{tab}').click()")


def choose_method(page: Page, name: str) -> None:
    """Choose a method as a reader does."""
    Select(page.element("method")).select_by_value(name)


def wait_drawn(page: Page, title: str) -> None:
    """Wait until the overlay on the film is by the method of that title."""
    page.wait(f"return document.getElementById('medinterp-drawn-method').textContent === '{title}'")
    page.wait_overlay()


def wait_shown(page: Page, name: str) -> None:
    """Wait until #medinterp-NAME is to be seen."""
    page.wait(f"return document.getElementById('medinterp-{name}')?.checkVisibility()")
