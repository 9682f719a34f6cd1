"""A second view beside the first: another method, a pinned word, the prior film, the difference of both."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from selenium.webdriver.support.ui import Select

from medinterp.relevancy import select_map
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    FILE_NAME,
    HEARTS,
    NODULE,
    OCCLUSION,
    REPORT,
    api,
    choose_method,
    drag_on_film,
    fake_films,
    film,
    film_png,
    page,
    press,
    take_example,
    wait_drawn,
    wait_film,
    wait_paths,
)
from tests.page_maps import GRID, PEAK

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def read(page: Page, api: FakeApi, film: Path) -> Page:
    """A report with the map of a word."""
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    return page


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    """An earlier film of the same patient."""
    path = tmp_path / "Doe_Jane_1960.png"
    path.write_bytes(film_png(240, 300))
    return path


def open_beside(page: Page, what: str) -> None:
    """Have something stand beside the map."""
    if not page.element("second").is_displayed():
        page.element("beside").click()
    Select(page.element("second-what")).select_by_value(what)
    page.wait("return document.getElementById('medinterp-second-overlay').checkVisibility()")


def small(page: Page, name: str) -> npt.NDArray[np.float64]:
    """What of a canvas lies on the film, small, as it is seen on black."""
    pixels = np.array(page.pixels(name, 30, 36), dtype=float).reshape(36, 30, 4)
    return pixels[..., :3] * pixels[..., 3:] / 255


def offered(page: Page) -> list[str]:
    return [option.text for option in Select(page.element("second-what")).options]


def test_nothing_to_stand_beside_it(page: Page, film: Path) -> None:
    """It is said, and what to do; without a report there is no second view."""
    assert not page.element("beside").is_enabled()
    page.upload(film)
    page.read()
    assert page.element("beside").is_enabled()
    page.run("document.activeElement.blur()")
    press(page, "c")
    assert page.text("second-empty").startswith("Nothing to stand beside it")
    assert page.element("beside").get_attribute("aria-pressed") == "true"
    press(page, "c")
    assert not page.element("second").is_displayed()


def test_another_method(read: Page, api: FakeApi) -> None:
    """The same word by both, each as it is drawn alone; both move together, and nobody is asked again."""
    choose_method(read, "occlusion")
    wait_drawn(read, OCCLUSION)
    with read.asks_nothing():
        open_beside(read, "method:raw")
        assert read.text("second-method") == "Raw attention"
        assert read.text("second-subject") == "nodule"
        assert offered(read) == ["Raw attention"]
        stages = [read.element(name).size for name in ("stage", "second-stage")]
        assert stages[0] == stages[1]
        raw, occlusion = small(read, "second-overlay"), small(read, "overlay")
        assert np.abs(raw - occlusion).max() > 40
        assert np.array_equal(read.canvas("second-film"), read.canvas("film"))
        choose_method(read, "raw")
        wait_drawn(read, "Raw attention")
        assert read.text("second-method") == OCCLUSION
        # A line less is said under the film by this method, and it lies a few pixels lower.
        assert np.abs(small(read, "overlay") - raw).max() < 8
        assert np.abs(small(read, "second-overlay") - occlusion).max() < 8

        read.element("zoom-in").click()
        read.element("zoom-in").click()
        drag_on_film(read, (0.5, 0.5), (0.4, 0.4))
        assert np.array_equal(read.canvas("second-film"), read.canvas("film")), "linked"
        assert np.abs(small(read, "second-overlay") - occlusion).max() > 40
        read.element("zoom-fit").click()
        read.word(HEARTS).click()
        assert read.text("second-subject") == "heart"
    assert len(api.paths("GET", "/maps/packed")) == 2


def test_a_pinned_word(read: Page) -> None:
    """It stays while other words are chosen, and another film is read; it goes when its report is forgotten."""
    read.element("beside").click()
    whole = small(read, "overlay")
    read.element("pin").click()
    open_beside(read, "pinned")
    assert offered(read) == ["Pinned: nodule, Raw attention"]
    read.word(HEARTS).click()
    assert read.text("subject") == "heart"
    assert read.text("second-subject") == "nodule"
    assert np.abs(small(read, "second-overlay") - whole).max() < 8
    assert np.abs(small(read, "overlay") - whole).max() > 40
    take_example(read, 1)
    read.wait_state("chosen")
    read.read()
    read.word(HEARTS).click()
    wait_drawn(read, "Raw attention")
    assert read.text("second-subject") == "nodule"
    assert read.run("return document.getElementById('medinterp-second-film').dataset.width") == "300"
    assert read.run("return document.getElementById('medinterp-film').dataset.width") == "41"
    read.element("forget").click()
    read.wait_state("chosen")
    assert read.text("second-subject") == "nodule", "it is the other report's"


def test_what_is_pinned_goes_with_its_report(read: Page) -> None:
    read.element("beside").click()
    read.element("pin").click()
    open_beside(read, "pinned")
    read.element("forget").click()
    read.wait_state("chosen")
    assert not read.element("second-overlay").is_displayed()
    assert not read.element("second-film").is_displayed()
    assert "Pinned" not in str(read.run("return document.getElementById('medinterp-second-what').textContent"))


def test_the_difference(read: Page, api: FakeApi) -> None:
    """Each map as a share of its range, the second taken from the first: nothing where they are the same."""
    read.element("beside").click()
    read.element("pin").click()
    open_beside(read, "pinned")
    with read.asks_nothing():
        read.element("difference").click()
        assert read.canvas("second-overlay")[..., 3].max() == 0, "a map less itself"
        assert read.text("second-method") == "left less right: Raw attention − Raw attention"
        read.word(NODULE + 2).click()
        pixels = read.canvas("second-overlay")
    one, other = (
        select_map(api.pack("raw"), REPORT.words[index].token_indices).values / PEAK for index in (NODULE + 2, NODULE)
    )
    difference = np.clip(one, None, 1) - np.clip(other, None, 1)
    left, top, width, height = read.film_place()
    rows = np.floor(top + (np.arange(GRID) + 0.5) / GRID * height).astype(int)
    columns = np.floor(left + (np.arange(GRID) + 0.5) / GRID * width).astype(int)
    seen = pixels[np.ix_(rows, columns)].astype(float)
    strength = np.sqrt(np.abs(difference))
    assert np.abs(seen[..., 3] / 127.5 - strength).max() < 0.12
    strong = strength > 0.5
    redder = seen[..., 0] > seen[..., 2]
    assert (redder == (difference > 0))[strong].all(), "red where the left one is stronger"
    assert {True, False} == set((difference > 0)[strong].tolist())


def test_the_prior_film(page: Page, api: FakeApi, film: Path, prior: Path) -> None:
    """It goes with the film; each has its own maps, which come when it is looked at; both can stand side by side."""
    page.upload(film)
    page.element("prior").send_keys(str(prior))
    assert prior.name in page.text("prior-name")
    assert not page.element("images").is_displayed()
    page.read()
    assert [form.get("prior") for verb, _, form in api.requests if verb == "POST"] == [prior.name]
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    current = page.overlay_pixels()
    assert page.element("images").is_displayed()
    page.element("image-1").click()
    wait_film(page, 240)
    wait_drawn(page, "Raw attention")
    assert page.element("image-1").get_attribute("aria-checked") == "true"
    assert "240 × 300 pixels" in page.text("facts") and "an old film" in page.text("facts")
    assert page.overlay_pixels() != current
    asked = api.paths("GET", "/maps/packed")
    assert [path.rpartition("image=")[2] for path in asked] == ["0", "1"]
    page.element("judge").click()
    page.wait("return !document.getElementById('medinterp-verdict').hidden")
    ((what, body),) = api.questions.asked
    assert (what, body["image"]) == ("faithfulness", 1), "the map that is looked at is judged"
    with page.asks_nothing():
        page.element("image-0").click()
        wait_film(page, 300)
        assert page.overlay_pixels() == current
        assert page.element("judge").is_displayed(), "of the map on this film nothing is known"
        page.element("beside").click()
        open_beside(page, "image")
        assert offered(page) == ["Prior film"]
        assert page.run("return document.getElementById('medinterp-second-film').dataset.width") == "240"
        page.element("image-1").click()
        wait_film(page, 240)
        page.wait("return document.getElementById('medinterp-second-film').dataset.width === '300'")
    assert FILE_NAME not in page.text("second")


def test_without_the_prior_film_again(page: Page, api: FakeApi, film: Path, prior: Path) -> None:
    """It can be taken back before the film is read, and stays with the film that was chosen with it only."""
    page.upload(film)
    page.element("prior").send_keys(str(prior))
    page.element("prior-clear").click()
    assert page.run("return document.activeElement.id") == "medinterp-prior"
    assert page.text("prior-name") == ""
    page.read()
    assert "prior" not in next(form for verb, _, form in api.requests if verb == "POST")
    assert not page.element("images").is_displayed()
    assert "image" not in [option.get_attribute("value") for option in Select(page.element("second-what")).options]


def test_another_film_has_another_prior(page: Page, api: FakeApi, film: Path, prior: Path) -> None:
    """The earlier film of one patient must not go with the film of the next; chosen first, it waits for its film."""
    page.element("prior").send_keys(str(prior))
    page.upload(film)
    assert prior.name in page.text("prior-name")
    take_example(page, 1)
    wait_film(page, 41)
    assert page.text("prior-name") == ""
    assert page.text("status") == "The prior film went with its film."
    page.read()
    assert "prior" not in next(form for verb, _, form in api.requests if verb == "POST")
