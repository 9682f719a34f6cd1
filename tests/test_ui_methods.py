"""Methods of the page: those that are computed with the report, and those for which the model is asked again."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from medinterp.api.problems import Problem
from medinterp.api.schema import ProgressModel
from medinterp.relevancy import METHODS
from medinterp.render import colormap, default_colormap
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_asking import STEPS
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    OCCLUSION,
    api,
    choose_method,
    fake_films,
    film,
    page,
    queries,
    take_example,
    wait_drawn,
    wait_for,
    wait_shown,
)

pytestmark = pytest.mark.filterwarnings("error")

BUSY = Problem(type="urn:medinterp:problem:service-busy", title="The service is busy.", status=503, detail="Four wait.")


def method_value(page: Page) -> str:
    """The name in the field."""
    return str(page.element("method").get_property("value"))


def strip_colours(page: Page) -> npt.NDArray[np.uint8]:
    """The colours of the key from left to right, uint8 [256, 3]."""
    data = page.pixels("key-strip", 256, 1, [0, 0, 256, 1])
    return np.array(data, dtype=np.uint8).reshape(256, 4)[:, :3]


def read_and_choose(page: Page, film: Path, word: int = NODULE) -> None:
    """A report, with a word's map on the film."""
    page.upload(film)
    page.read()
    page.word(word).click()
    wait_drawn(page, "Raw attention")


def test_groups(page: Page) -> None:
    """The list says which methods are there with the report, and which ask the model again."""
    groups = page.run(
        "return [...document.querySelectorAll('#medinterp-method optgroup')].map((group) =>"
        " [group.label, ...[...group.children].map((option) => option.value)])"
    )
    assert groups == [
        ["Computed with the report", "raw", "consensus"],
        ["Asks the model again", "occlusion", "head_importance_gradient"],
    ]
    assert method_value(page) == "raw"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (1400, 900), (800, 900)])
def test_no_title_is_cut_off(page: Page, film: Path, width: int, height: int) -> None:
    """The field has room for the longest title that the library has."""
    page.resize(width, height)
    page.upload(film)
    page.read()
    widths = page.run(
        "const field = document.getElementById('medinterp-method');"
        "const free = field.cloneNode(true);"
        "free.append(...arguments[0].map((title) => new Option(title)));"
        "free.style.cssText = 'width: auto; min-width: 0; position: absolute';"
        "field.parentNode.append(free);"
        "const widths = [free.offsetWidth, field.offsetWidth];"
        "free.remove();"
        "return widths;",
        [method.title for method in METHODS.values()],
    )
    assert isinstance(widths, list)
    needed, given = widths
    assert needed > 100
    assert given >= needed


def test_on_demand(page: Page, api: FakeApi, film: Path) -> None:
    """Progress is told while words can be chosen by the method shown before; then the maps are there, and stay."""
    read_and_choose(page, film)
    api.questions.hold_at = 3
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-measuring-text').textContent.endsWith(': 96 of 256 cells')")
    assert page.text("measuring-text") == f"{OCCLUSION}: 96 of 256 cells"
    bar = page.element("measuring-bar")
    assert (bar.get_property("value"), bar.get_property("max")) == (96, 256)
    assert not page.element("method-note").is_displayed()
    assert method_value(page) == "occlusion"

    before = page.overlay_pixels()
    with page.asks_nothing():
        page.word(HEARTS).click()
        assert page.text("drawn-method") == "Raw attention"
        assert page.text("subject") == "heart"
    raw = page.overlay_pixels()
    assert raw != before

    api.questions.hold_at = None
    wait_drawn(page, OCCLUSION)
    assert queries(api.paths("GET", "/maps/packed"))[-1] == {"method": "occlusion", "image": "0"}
    assert page.text("subject") == "heart"
    assert page.overlay_pixels() != raw
    assert page.element("overlay").get_attribute("aria-label") == f"The map of heart by {OCCLUSION}"
    assert not page.element("measuring").is_displayed()
    assert page.text("method-note").startswith("How much less likely")
    assert page.text("status") == f"Kept with the report: {OCCLUSION}."
    assert page.text("key-low") == "against -0.0625"
    assert page.text("key-high") == "0.0625 for"
    assert strip_colours(page) == pytest.approx(colormap(default_colormap(signed=True)), abs=1)

    with page.asks_nothing():
        choose_method(page, "raw")
        wait_drawn(page, "Raw attention")
        assert page.overlay_pixels() == raw
        assert strip_colours(page) == pytest.approx(colormap(default_colormap(signed=False)), abs=1)
        choose_method(page, "occlusion")
        wait_drawn(page, OCCLUSION)
    assert api.questions.asked == [("maps", {"method": "occlusion"})], "it is asked once"
    assert len(api.paths("GET", "/maps/packed")) == 2, "and its maps come once"


def test_stop(page: Page, api: FakeApi, film: Path) -> None:
    """Stop ends the computation on the server too; the map on the film is the one that was there."""
    read_and_choose(page, film)
    before = page.overlay_pixels()
    api.questions.hold_at = 2
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-measuring-bar').value === 64")
    page.element("measuring-stop").click()
    assert method_value(page) == "raw"
    assert not page.element("measuring").is_displayed()
    assert page.text("method-note").startswith("Where the last layer looked")
    assert page.text("status") == f"Stopped: {OCCLUSION} was not computed."
    assert page.run("return document.activeElement.id") == "medinterp-method", "the keyboard's place is kept"
    wait_for(lambda: api.questions.stopped == 1)
    assert page.overlay_pixels() == before
    assert not page.element("error").is_displayed()

    api.questions.hold_at = None
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)


@pytest.mark.parametrize("midway", [False, True])
def test_failure_goes_back(page: Page, api: FakeApi, film: Path, midway: bool) -> None:
    """Refused, or broken off: the problem is said, the former method stands, and nothing else is lost."""
    read_and_choose(page, film)
    before = page.overlay_pixels()
    setattr(api.questions, "break_with" if midway else "refuse", BUSY)
    choose_method(page, "occlusion")
    wait_shown(page, "error")
    assert page.text("error").startswith("The service is busy.\nFour wait.")
    assert method_value(page) == "raw"
    assert page.text("status") == f"{OCCLUSION} could not be computed."
    assert not page.element("measuring").is_displayed()
    assert page.overlay_pixels() == before
    assert page.text("drawn-method") == "Raw attention"
    assert page.word(NODULE).get_attribute("aria-pressed") == "true"

    api.questions.refuse = api.questions.break_with = None
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)


def test_one_at_a_time(page: Page, api: FakeApi, film: Path) -> None:
    """Another choice takes the place of the computation that runs."""
    read_and_choose(page, film)
    api.questions.hold_at = 4
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-measuring-bar').value === 128")
    choose_method(page, "head_importance_gradient")
    page.wait("return document.getElementById('medinterp-measuring-text').textContent.startsWith('Head importance')")
    page.wait("return document.getElementById('medinterp-measuring-text').textContent.endsWith('128 of 256 tokens')")
    assert "Until it is there, the maps are by Raw attention." in page.text("measuring")
    wait_for(lambda: api.questions.stopped == 1)
    choose_method(page, "raw")
    wait_for(lambda: api.questions.stopped == 2)
    assert not page.element("measuring").is_displayed()
    assert page.text("drawn-method") == "Raw attention"
    assert [body for _, body in api.questions.asked] == [
        {"method": "occlusion"},
        {"method": "head_importance_gradient"},
    ]
    assert not page.element("error").is_displayed()


def test_chosen_before_the_film_is_read(page: Page, api: FakeApi, film: Path) -> None:
    """A method that asks the model again is computed right after the report, which does not wait for it."""
    choose_method(page, "occlusion")
    assert page.text("method-note").startswith("How much less likely the word becomes when a cell is hidden.")
    assert "It is computed once the report is there." in page.text("method-note")
    api.questions.hold_at = STEPS
    page.upload(film)
    page.read()
    assert next(form for verb, _, form in api.requests if verb == "POST")["methods"] == "raw"
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    assert page.text("measuring-text") == f"{OCCLUSION}: 256 of 256 cells"
    api.questions.hold_at = None
    wait_drawn(page, OCCLUSION)
    choose_method(page, "raw")
    page.read()
    assert method_value(page) == "raw"
    assert len(api.questions.asked) == 1, "another report has not asked for it"


def test_service_that_computes_it_with_every_report(page: Page, api: FakeApi, film: Path) -> None:
    """The stream of the report tells of progress too."""
    api.progress = ProgressModel(what="occlusion", done=96, of=256)
    api.word_delay_s = 0.03
    page.upload(film)
    page.element("read").click()
    page.wait("return document.getElementById('medinterp-status').textContent === 'Occlusion: 96 of 256 cells'")
    page.wait_state("read")


@pytest.mark.parametrize("how", ["forget", "another film", "read again"])
def test_leaving_the_report_ends_it(page: Page, api: FakeApi, film: Path, how: str) -> None:
    """Nobody waits any more for maps of a report that is gone from the page."""
    read_and_choose(page, film)
    api.questions.hold_at = 1
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-measuring-bar').value === 32")
    if how == "forget":
        page.element("forget").click()
    elif how == "another film":
        take_example(page, 2)
    else:
        page.element("read").click()
    wait_for(lambda: api.questions.stopped >= 1)
    if how != "read again":
        page.wait_state("chosen")
        assert not page.element("measuring").is_displayed()
        assert not page.element("overlay").is_displayed()
    else:
        wait_for(lambda: len(api.questions.asked) == 2)  # it is still the chosen one
        page.element("measuring-stop").click()
    assert not page.element("error").is_displayed()
