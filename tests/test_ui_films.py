"""What the page says of the film: warnings, reasons to withhold a report, windows, and the model's own view of it."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import Select

from medinterp.api.problems import Problem, problem_of
from medinterp.errors import FilmWithheldError
from medinterp.types import FilmWarning, WindowChoice
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import MODEL_SIDE, FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEIGHT,
    NODULE,
    WIDTH,
    api,
    fake_films,
    film,
    film_png,
    open_ask,
    page,
    take_example,
    wait_film,
    wait_for,
    wait_shown,
)

pytestmark = pytest.mark.filterwarnings("error")

FAINT = FilmWarning("low-contrast", "Low contrast: <b>41</b> of 255 gray levels.")
CLIPPED = FilmWarning("clipped", "Clipped: 60% of the pixels are black.")
INVERTED = FilmWarning("inverted", "The film is inverted.", withholds=True)
WINDOWS = (
    WindowChoice("window-1", "center 2048, width 4096, LINEAR"),
    WindowChoice("lut-1", "VOI LUT 1, 4096 entries from 0"),
    WindowChoice("full", "no window: 0 is black, 4095 white"),
)
LOST = Problem(type="about:blank", title="The model's view cannot be drawn.", status=503, detail="Wait a little.")


def posts(api: FakeApi) -> list[dict[str, str]]:
    """The forms of the films that were sent."""
    return [form for verb, path, form in api.requests if verb == "POST" and path == "/v1/reports"]


def codes(page: Page, within: str) -> list[str]:
    """The codes of what is listed in an element, in order."""
    script = "return [...arguments[0].querySelectorAll('[data-code]')].map((node) => node.dataset.code)"
    listed = page.run(script, page.element(within))
    assert isinstance(listed, list)
    return listed


def press(page: Page, key: str) -> None:
    ActionChains(page.driver).send_keys(key).perform()


def choose_window(page: Page, name: str) -> None:
    """Choose a window as a reader does, and wait for the report that comes of it."""
    Select(page.element("window")).select_by_value(name)
    page.wait("return !document.getElementById('medinterp-window').disabled")
    page.wait_state("read")


def grays(page: Page) -> int:
    """How many grays are in the film's middle row, as it is drawn."""
    left, top, width, height = page.film_place()
    row = page.canvas("film")[round(top + height / 3), round(left) + 1 : round(left + width) - 1, 0]
    return len(set(row.tolist()))


def test_a_film_without_doubts_is_told_nothing_of(page: Page, film: Path) -> None:
    page.upload(film)
    page.read()
    for name in ("warnings", "film-warning", "windows"):
        assert not page.element(name).is_displayed(), name
    assert page.text("facts") == f"{WIDTH} × {HEIGHT} pixels · 16 bit"


def test_warnings_stand_above_the_report_and_on_the_viewer(page: Page, api: FakeApi, film: Path) -> None:
    """As text, whatever is in them; they go with the report and are the film's own."""
    api.warnings = (FAINT, CLIPPED)
    api.notes = ("16 bit", "turned: EXIF orientation 6")
    page.upload(film)
    page.read()
    told = page.text("warnings").splitlines()
    assert told == ["2 warnings about this film", FAINT.text, CLIPPED.text]
    assert codes(page, "warnings") == ["low-contrast", "clipped"]
    assert page.element("warnings").get_attribute("data-kind") == "doubt"
    assert page.text("film-warning").splitlines() == [FAINT.text, "and 1 more"]
    assert page.text("status").endswith(" words. Mind the warnings about the film.")
    assert page.element("warnings").rect["y"] < page.element("report").rect["y"]
    strip, stage = page.element("film-warning").rect, page.element("stage").rect
    assert strip["y"] + strip["height"] <= stage["y"] + 1, "it does not cover the film"
    assert page.text("facts").endswith("pixels · 16 bit · turned: EXIF orientation 6")
    api.warnings = (CLIPPED,)
    page.element("read").click()
    page.wait("return document.querySelector('[data-code=low-contrast]') === null")
    page.wait_state("read")
    assert page.text("warnings").splitlines() == ["Warning about this film", CLIPPED.text]
    assert page.text("film-warning") == CLIPPED.text
    page.element("forget").click()
    page.wait_state("chosen")
    assert not page.element("warnings").is_displayed() and not page.element("film-warning").is_displayed()


def test_a_withheld_report_says_why_and_is_read_on_request(page: Page, api: FakeApi, film: Path) -> None:
    """The reasons and a button; then the report, with the reason that withheld it first and set apart."""
    api.warnings = (FAINT, INVERTED)
    page.upload(film)
    page.element("read").click()
    wait_shown(page, "force")
    assert page.state == "chosen"
    assert codes(page, "error") == ["inverted"]
    assert page.text("error").splitlines()[:2] == ["No report was written: it would mean nothing.", INVERTED.text]
    assert page.text("force") == "Read it all the same"
    assert "medinterp-word" not in str(page.element("report").get_attribute("innerHTML"))
    page.element("force").click()
    page.wait_state("read")
    assert [form.get("force") for form in posts(api)] == [None, "true"]
    assert not page.element("error").is_displayed()
    assert codes(page, "warnings") == ["inverted", "low-contrast"]
    assert page.text("warnings").splitlines()[0] == "Read all the same: a report on this film means nothing"
    kinds = [page.element(name).get_attribute("data-kind") for name in ("warnings", "film-warning")]
    assert kinds == ["withholds", "withholds"]
    assert page.text("film-warning").splitlines()[0] == INVERTED.text
    page.element("read").click()
    wait_shown(page, "force")
    assert "force" not in posts(api)[-1], "it is asked for each time"


def test_a_model_that_withholds_later_offers_the_same(page: Page, api: FakeApi, film: Path) -> None:
    """Which films a model was not made for is known where the model is: the answer is under way by then."""
    api.break_with = problem_of(FilmWithheldError((INVERTED,)))
    page.upload(film)
    page.element("read").click()
    wait_shown(page, "force")
    assert codes(page, "error") == ["inverted"]
    api.break_with = None
    page.element("force").click()
    page.wait_state("read")
    assert posts(api)[-1]["force"] == "true"


def test_another_problem_offers_no_force(page: Page, api: FakeApi, film: Path) -> None:
    api.refuse = LOST
    page.upload(film)
    page.element("read").click()
    wait_shown(page, "error")
    assert page.run("return document.getElementById('medinterp-force')") is None
    assert page.text("error").splitlines()[:2] == [LOST.title, LOST.detail]


def test_another_window_reads_the_film_again(page: Page, api: FakeApi, film: Path) -> None:
    """The one that was used is shown; a choice is kept for this film, a failed one is not, another film has its own."""
    api.windows = WINDOWS
    page.upload(film)
    assert not page.element("windows").is_displayed()
    page.read()
    assert [option.text for option in Select(page.element("window")).options] == [choice.label for choice in WINDOWS]
    assert page.element("window").get_property("value") == "window-1"
    assert "the report is written again" in page.text("windows")
    page.word(NODULE).click()
    page.wait_overlay()
    choose_window(page, "lut-1")
    assert page.element("window").get_property("value") == "lut-1"
    assert page.run("return document.activeElement.id") == "medinterp-window"
    assert not page.element("overlay").is_displayed(), "the old report's map"
    page.read()
    assert [form.get("window") for form in posts(api)] == [None, "lut-1", "lut-1"]

    api.refuse = LOST
    Select(page.element("window")).select_by_value("full")
    wait_shown(page, "error")
    assert page.state == "read", "the report by the former window is back"
    assert page.element("window").get_property("value") == "lut-1"
    api.refuse = None
    take_example(page, 2)
    page.wait_state("chosen")
    assert not page.element("windows").is_displayed()
    page.read()
    assert "window" not in posts(api)[-1]


def test_a_window_that_was_asked_for_in_numbers_is_shown(page: Page, api: FakeApi, film: Path) -> None:
    """And a withheld film is read by force through the window that was chosen."""
    api.windows = WINDOWS
    page.upload(film)
    page.read()
    page.run(
        "const s = document.getElementById('medinterp-window'); s.add(new Option('', '40,400')); s.value = '40,400';"
        "s.dispatchEvent(new Event('change'))"
    )
    page.wait("return document.querySelector('#medinterp-window option').value === '40,400'")
    page.wait_state("read")
    options = Select(page.element("window")).options
    assert [option.text for option in options] == ["as asked: 40,400", *(choice.label for choice in WINDOWS)]
    api.warnings = (INVERTED,)
    Select(page.element("window")).select_by_value("full")
    wait_shown(page, "force")
    page.element("force").click()
    wait_shown(page, "warnings")
    assert posts(api)[-1]["window"] == "full" and posts(api)[-1]["force"] == "true"
    assert page.element("window").get_property("value") == "full"


def test_the_film_as_the_model_saw_it(page: Page, api: FakeApi, film: Path) -> None:
    """One key there and back: its own pixels, in the film's place, asked for once."""
    page.upload(film)
    press(page, "m")
    assert not page.element("model-view").is_displayed()
    page.read()
    page.run("document.getElementById('medinterp-stage').focus()")
    place, own = page.film_place(), grays(page)
    press(page, "m")
    wait_film(page, MODEL_SIDE)
    assert api.paths("GET", "view=model") == [f"/v1/reports/{next(iter(api.films))}/film.png?view=model"]
    assert page.film_place() == place, "stretched to the film's place"
    assert grays(page) <= MODEL_SIDE + 2 < own, "its own pixels, not smoothed"
    assert page.text("model-caption") == f"as the model saw it, {MODEL_SIDE} × {MODEL_SIDE}"
    assert page.element("model-view").get_attribute("aria-pressed") == "true"
    press(page, "m")
    wait_film(page, WIDTH)
    assert grays(page) == own
    assert not page.element("model-caption").is_displayed()
    assert page.element("model-view").get_attribute("aria-pressed") == "false"

    with page.asks_nothing():
        page.element("model-view").click()
        wait_film(page, MODEL_SIDE)
    page.word(NODULE).click()
    page.wait_overlay()
    wait_film(page, WIDTH)  # a word that is chosen is seen
    place = page.film_place()
    press(page, "m")
    wait_film(page, MODEL_SIDE)
    assert page.film_place() == place
    assert not page.element("overlay").is_displayed()
    assert not page.element("subject").is_displayed(), "what is seen is not that word's map"
    page.element("contours").click()
    wait_film(page, WIDTH)
    assert page.element("overlay").is_displayed()
    open_ask(page)
    page.element("prompt").send_keys("m")
    wait_film(page, WIDTH)  # a letter that is typed is no key


def test_the_model_s_view_is_each_film_s_own(page: Page, api: FakeApi, film: Path) -> None:
    page.upload(film)
    page.read()
    page.element("model-view").click()
    wait_film(page, MODEL_SIDE)
    take_example(page, 1)
    page.wait_state("chosen")
    wait_film(page, 41)
    assert not page.element("model-view").is_displayed()
    page.read()
    page.element("model-view").click()
    wait_film(page, MODEL_SIDE)
    assert len(set(api.paths("GET", "view=model"))) == 2


def test_a_model_s_view_that_cannot_be_had_is_said(page: Page, api: FakeApi, film: Path) -> None:
    api.refuse_model_view = LOST
    page.upload(film)
    page.read()
    page.element("model-view").click()
    wait_shown(page, "error")
    assert page.text("error").splitlines()[0] == LOST.title
    wait_film(page, WIDTH)
    api.refuse_model_view = None
    page.element("model-view").click()
    wait_film(page, MODEL_SIDE)


def test_tiff_films_can_be_chosen(page: Page, tmp_path: Path) -> None:
    accepted = str(page.element("file").get_attribute("accept")).split(",")
    assert {".tif", ".tiff", "image/tiff"} <= set(accepted)
    path = tmp_path / "film.tiff"
    path.write_bytes(b"II*\x00" + bytes(20))
    page.upload(path)
    page.wait("return document.getElementById('medinterp-empty').textContent.includes('film.tiff')")


@pytest.mark.parametrize(("width", "height", "phone"), [(390, 844, True), (1280, 800, False), (1440, 900, False)])
def test_it_all_fits_the_screen(page: Page, api: FakeApi, film: Path, width: int, height: int, phone: bool) -> None:
    """With many warnings, a long one and windows: nothing wider than the screen, and the report can be read."""
    page.resize(width, height, phone=phone)
    long = FilmWarning("window", "The film's own window leaves nearly nothing to see on it. " * 3)
    api.warnings, api.windows = (FAINT, CLIPPED, long), WINDOWS
    api.notes = tuple(f"what was done to the file, number {k}" for k in range(8))
    page.upload(film)
    page.read()
    page.run("arguments[0].scrollIntoView({ block: 'center' })", page.word(NODULE))
    page.run("arguments[0].click()", page.word(NODULE))
    page.wait_overlay()
    assert page.run("return document.documentElement.scrollWidth") == width
    if phone:
        strip, stage = (page.run("return arguments[0].getBoundingClientRect().toJSON()", page.element(name))
                        for name in ("film-warning", "stage"))  # fmt: skip
        assert isinstance(strip, dict) and isinstance(stage, dict)
        assert strip["top"] == pytest.approx(0, abs=1), "it stays with the film"
        assert strip["bottom"] - 1 <= stage["top"] <= strip["bottom"] + 40, "and does not cover it"
    else:
        assert page.run("return document.documentElement.scrollHeight") == height
        assert page.element("report").rect["height"] > 90
        assert page.film_place()[3] > 200
