"""The page's "Detail" of a method that can be run in several settings, of which the report keeps one at a time."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.support.ui import Select

from medinterp.api.problems import Problem
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_asking import STEPS
from tests.page_fixtures import (  # noqa: F401 - fixtures
    NODULE,
    OCCLUSION,
    api,
    choose_method,
    fake_films,
    film,
    page,
    wait_drawn,
    wait_for,
    wait_shown,
)

pytestmark = pytest.mark.filterwarnings("error")

COARSE, BLOCKS = "Occlusion, coarse to fine (fast)", "Occlusion, 4 x 4 blocks"
OPTIONS = {OCCLUSION: {}, COARSE: {"coarse_to_fine": True}, BLOCKS: {"block": 4}}


def choose(page: Page, title: str) -> None:
    """Choose a detail as a reader does."""
    Select(page.element("setting")).select_by_visible_text(title.removeprefix("Occlusion, "))


def chosen(page: Page) -> str:
    """The title in the field, with its method's."""
    return f"Occlusion, {Select(page.element('setting')).first_selected_option.text}"


def asked(api: FakeApi) -> list[dict[str, object]]:
    """The options of all questions for maps so far."""
    bodies = [dict(body) for what, body in api.questions.asked if what == "maps"]
    assert all(body.pop("method") == "occlusion" for body in bodies)
    return bodies


def wait_asking(page: Page, title: str, share: str = "32 of 256 cells") -> None:
    """Wait until the question tells that it has come so far."""
    page.wait(f"return document.getElementById('medinterp-measuring-text').textContent === '{title}: {share}'")


def open_occlusion(page: Page, film: Path) -> None:
    """A report with exact occlusion, and a word's map on the film."""
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)


def test_detail_belongs_to_the_method(page: Page, api: FakeApi, film: Path) -> None:
    """It is shown for the method that has it, and offers what the registry has."""
    page.upload(film)
    page.read()
    assert not page.element("settings").is_displayed()
    choose_method(page, "occlusion")
    assert page.element("settings").is_displayed()
    titles = [option.text for option in Select(page.element("setting")).options]
    assert titles == ["every cell (exact)", "coarse to fine (fast)", "2 x 2 blocks", "4 x 4 blocks"]
    page.word(NODULE).click()
    wait_drawn(page, OCCLUSION)
    choose_method(page, "raw")
    assert not page.element("settings").is_displayed()


def test_another_detail_asks_the_model_again(page: Page, api: FakeApi, film: Path) -> None:
    """With progress; the former map stays until then, and the new one says what it was made with."""
    open_occlusion(page, film)
    before = page.overlay_pixels()
    api.questions.hold_at = 1
    choose(page, COARSE)
    wait_asking(page, COARSE)
    assert page.text("drawn-method") == OCCLUSION
    assert page.overlay_pixels() == before
    api.questions.hold_at = None
    wait_drawn(page, COARSE)
    page.wait("return document.getElementById('medinterp-details').textContent.includes('coarse_to_fine True')")
    assert page.text("status") == f"Kept with the report: {COARSE}."
    assert "each cell of the strongest tenth" in page.text("method-note")
    assert page.element("overlay").get_attribute("aria-label") == f"The map of nodule by {COARSE}"

    choose_method(page, "raw")
    wait_drawn(page, "Raw attention")
    choose_method(page, "occlusion")
    wait_drawn(page, COARSE)
    assert chosen(page) == COARSE
    assert asked(api) == [OPTIONS[OCCLUSION], OPTIONS[COARSE]], "what is there is not asked for again"
    choose(page, OCCLUSION)
    wait_drawn(page, OCCLUSION)
    assert asked(api) == [{}, {"coarse_to_fine": True}, {}], "only the last one was kept"
    assert page.logs()[0] == []


def test_stop(page: Page, api: FakeApi, film: Path) -> None:
    """The detail that is on the film stands in the field again, with the focus."""
    open_occlusion(page, film)
    api.questions.hold_at = 1
    choose(page, BLOCKS)
    wait_asking(page, BLOCKS)
    page.element("measuring-stop").click()
    wait_for(lambda: api.questions.stopped == 1)
    assert page.text("status") == f"Stopped: {BLOCKS} was not computed."
    assert chosen(page) == OCCLUSION
    assert page.text("drawn-method") == OCCLUSION
    assert page.run("return document.activeElement.id") == "medinterp-setting"
    api.questions.hold_at = None
    choose(page, BLOCKS)
    wait_drawn(page, BLOCKS)


def test_stop_that_came_too_late(page: Page, api: FakeApi, film: Path) -> None:
    """The server had kept the new map when the question was ended: the page shows it, and says so."""
    open_occlusion(page, film)
    api.questions.hold_at = STEPS
    choose(page, BLOCKS)
    wait_asking(page, BLOCKS, "256 of 256 cells")
    (report,) = api.computed
    api.computed[report]["occlusion"] = {"block": 4}
    page.element("measuring-stop").click()
    wait_drawn(page, BLOCKS)
    assert chosen(page) == BLOCKS
    page.wait("return document.getElementById('medinterp-details').textContent.includes('block 4')")
    assert len(asked(api)) == 2


def test_failure_goes_back(page: Page, api: FakeApi, film: Path) -> None:
    open_occlusion(page, film)
    api.questions.refuse = Problem(type="urn:x", title="The service is busy.", status=503, detail="Four wait.")
    choose(page, COARSE)
    wait_shown(page, "error")
    assert chosen(page) == OCCLUSION
    assert page.text("drawn-method") == OCCLUSION
    assert not page.element("measuring").is_displayed()


def test_the_last_choice_wins(page: Page, api: FakeApi, film: Path) -> None:
    """A question that runs is ended by another one, and by going back to what is there."""
    open_occlusion(page, film)
    api.questions.hold_at = 1
    choose(page, COARSE)
    wait_asking(page, COARSE)
    choose(page, BLOCKS)
    wait_asking(page, BLOCKS)
    wait_for(lambda: api.questions.stopped == 1)
    choose(page, OCCLUSION)
    wait_for(lambda: api.questions.stopped == 2)
    assert not page.element("measuring").is_displayed()
    wait_drawn(page, OCCLUSION)
    choose(page, COARSE)
    wait_asking(page, COARSE)
    choose(page, BLOCKS)
    api.questions.hold_at = None
    wait_drawn(page, BLOCKS)
    assert chosen(page) == BLOCKS
    assert asked(api) == [OPTIONS[title] for title in (OCCLUSION, COARSE, BLOCKS, COARSE, BLOCKS)]
    assert not page.element("error").is_displayed()


def test_chosen_before_the_film_is_read(page: Page, api: FakeApi, film: Path) -> None:
    """The report comes first, then the maps in the detail that was chosen; another report has it anew."""
    choose_method(page, "occlusion")
    choose(page, COARSE)
    assert "each cell of the strongest tenth" in page.text("method-note")
    assert asked(api) == []
    for reports in (1, 2):
        page.upload(film)
        page.read()
        page.word(NODULE).click()
        wait_drawn(page, COARSE)
        assert asked(api) == [OPTIONS[COARSE]] * reports


def test_a_judgement_is_of_one_detail(page: Page, film: Path) -> None:
    """What is known of the exact map is not said of the one by blocks, and is there again with it."""
    open_occlusion(page, film)
    page.element("judge").click()
    wait_shown(page, "verdict")
    choose(page, BLOCKS)
    wait_drawn(page, BLOCKS)
    wait_shown(page, "judge")
    assert not page.element("verdict").is_displayed()
    choose(page, OCCLUSION)
    wait_drawn(page, OCCLUSION)
    wait_shown(page, "verdict")


@pytest.mark.parametrize(("width", "window"), [(1280, 800), (1440, 900)])
def test_the_film_keeps_its_size(page: Page, api: FakeApi, film: Path, width: int, window: int) -> None:
    """The second field, and progress beside it, take next to nothing from the film."""
    page.resize(width, window)
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    height = page.element("stage").size["height"]
    api.questions.hold_at = 1
    choose_method(page, "occlusion")
    wait_asking(page, OCCLUSION)
    assert page.element("stage").size["height"] >= height - 12
    stop, row = page.element("measuring-stop").rect, page.element("controls").rect
    assert stop["x"] + stop["width"] <= row["x"] + row["width"]
    api.questions.hold_at = None
    wait_drawn(page, OCCLUSION)
    assert page.element("stage").size["height"] >= height - 12
