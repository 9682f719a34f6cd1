"""The film with its map: the key, the controls, the details of a word."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from medinterp.api.problems import Problem
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    REPORT,
    api,
    fake_films,
    film,
    film_png,
    page,
    queries,
    wait_paths,
)

pytestmark = pytest.mark.filterwarnings("error")


def test_word_details(page: Page, film: Path) -> None:
    """Text, probability, image mass, each token's five alternatives, the method's notes, the key's ends."""
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    page.wait("return document.getElementById('medinterp-details').textContent.includes('mean of 4 heads')")
    word = REPORT.words[NODULE]
    details = page.text("details")
    assert "“nodule” in LUNGS" in details
    assert f"{np.exp(word.logprob) * 100:.0f} %" in details
    assert f"{word.image_mass * 100:.0f} %" in details
    bars = page.run("return [...document.querySelectorAll('#medinterp-details ol')].map((o) => o.children.length)")
    assert bars == [5] * len(word.token_indices)
    assert page.text("key-high") == "0.0625"
    page.run("document.getElementById('medinterp-scale-map').click()")
    assert page.text("key-high") == "high"
    page.run("document.getElementById('medinterp-scale-report').click()")


def test_a_faint_word_is_called_faint(page: Page, film: Path) -> None:
    """An overlay on which nothing can be seen is explained: the key has a tick where the word's peak stands."""
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    page.wait("return document.getElementById('medinterp-scale-note').textContent.startsWith('Faint')")
    assert "strongest cell reaches 2 % of the report's range" in page.text("scale-note")
    tick = "const t = document.getElementById('medinterp-key-tick'); return t.hidden ? null : parseFloat(t.style.left)"
    assert page.run(tick) == pytest.approx(14.1, abs=0.5)
    page.word(NODULE).click()
    page.wait("return document.getElementById('medinterp-scale-note').textContent.startsWith('One square-root')")
    assert page.run(tick) == pytest.approx(100, abs=2)
    page.run("document.getElementById('medinterp-scale-map').click()")
    assert page.run(tick) is None
    assert page.text("scale-note").startswith("Stretched to this word alone")


def test_a_finding_has_a_tick_too(page: Page, api: FakeApi, film: Path) -> None:
    """The values of several words are joined as the server joins them: the mean over all their tokens."""
    page.upload(film)
    page.read()
    page.driver.find_element("css selector", '#medinterp-findings [data-finding-index="5"]').click()
    page.wait("return document.getElementById('medinterp-key-high').textContent !== 'high'")
    maps = api.map_values("raw")
    words = [REPORT.words[index] for index in REPORT.findings[5].word_indices]
    assert len(words) == 3
    counts = [len(word.token_indices) for word in words]
    joined = np.average(maps.words[[word.index for word in words]], axis=0, weights=counts)
    tick = "return parseFloat(document.getElementById('medinterp-key-tick').style.left)"
    assert page.run(tick) == pytest.approx(100 * min(1, joined.max() / maps.high) ** 0.5, abs=0.1)


def test_sinks_are_left_out_on_request_only(page: Page, api: FakeApi, film: Path) -> None:
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    first = page.wait_overlay()
    assert queries(api.paths("GET", "overlay.png"))[-1]["without_sinks"] == "false"
    assert not page.element("sinks").is_displayed()  # there are none: nothing to leave out
    api.sinks = True
    page.read()
    page.word(NODULE).click()
    second = page.wait_overlay(other_than=first)
    page.wait("return !document.getElementById('medinterp-sinks-label').hidden")
    page.element("sinks").click()
    page.wait_overlay(other_than=second)
    assert queries(api.paths("GET", "overlay.png"))[-1]["without_sinks"] == "true"
    assert queries(api.paths("GET", "/maps"))[-1]["without_sinks"] == "true"
    assert page.element("sinks").is_displayed()


def test_controls(page: Page, api: FakeApi, film: Path) -> None:
    """Every control asks the server for another picture; a stretched scale says what it is."""
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    shown = page.wait_overlay()
    asked = len(api.paths("GET", "overlay.png"))
    slider = page.element("opacity")
    for _ in range(4):
        slider.send_keys(Keys.ARROW_RIGHT)
    shown = page.wait_overlay(other_than=shown)
    opacities = [query["opacity"] for query in queries(api.paths("GET", "overlay.png"))[asked:]]
    assert opacities[-1] == "0.7"
    assert len(opacities) < 4, "the slider is debounced"
    assert page.text("opacity-value") == "70 %"

    page.element("contours").click()
    shown = page.wait_overlay(other_than=shown)
    page.run(
        "const c = arguments[0]; c.value = 'magma'; c.dispatchEvent(new Event('change'))",
        page.element("colormap"),
    )
    shown = page.wait_overlay(other_than=shown)
    assert "can be compared" in page.text("scale-note")
    page.element("scale-map").click()
    shown = page.wait_overlay(other_than=shown)
    assert "Stretched to this word alone" in page.text("scale-note")
    assert page.text("key-high") == "high", "the report's numbers do not hold for a stretched map"
    last = queries(api.paths("GET", "overlay.png"))[-1]
    assert last == {
        "method": "raw",
        "opacity": "0.7",
        "colormap": "magma",
        "contours": "true",
        "scale": "map",
        "without_sinks": "false",
        "quantity": "relevancy",
    }

    page.element("show").click()
    assert not page.element("overlay").is_displayed()
    page.run("document.activeElement.blur()")
    ActionChains(page.driver).send_keys("o").perform()
    assert page.element("overlay").is_displayed()
    other = page.run("return [...document.getElementById('medinterp-method').options].map((o) => o.disabled)")
    assert other == [False, True, False, False], "what was not computed with this report cannot be chosen"


def test_large_film_is_sent_as_large_as_it_is_shown(page: Page, api: FakeApi, tmp_path: Path) -> None:
    """A film larger than the screen is asked for in the screen's size, and sharper when zoomed in."""
    path = tmp_path / "large.png"
    path.write_bytes(film_png(1800, 2400))
    page.upload(path)
    page.read()
    page.word(NODULE).click()
    page.wait_overlay()
    assert queries(api.paths("GET", "overlay.png"))[-1]["size"] == "1024"
    for _ in range(3):
        page.element("zoom-in").click()
    wait_paths(api, "size=1536", 1)
    assert "scale(" in str(page.run("return document.getElementById('medinterp-picture').style.transform"))
    page.element("zoom-fit").click()
    assert page.run("return document.getElementById('medinterp-picture').style.transform") == ""


def test_overlay_that_expired(page: Page, api: FakeApi, film: Path) -> None:
    """A picture that cannot be had is said, and no other word's picture stands for it; the report stays."""
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    page.wait_overlay()
    assert page.text("subject") == "heart"
    api.refuse_overlay = Problem(type="urn:x", title="Not found.", status=404, detail="It has expired.")
    page.word(NODULE).click()
    page.wait("return !document.getElementById('medinterp-error').hidden")
    assert "It has expired." in page.text("error")
    assert not page.element("overlay").is_displayed()
    assert page.text("subject") == ""
    assert page.word(NODULE).is_displayed()
