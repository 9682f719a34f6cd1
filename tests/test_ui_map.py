"""The film with its map: the key, the controls, the details of a word."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.relevancy import select_map
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import GONE, FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    REPORT,
    api,
    choose_method,
    fake_films,
    film,
    film_png,
    page,
    wait_drawn,
)
from tests.page_maps import PEAK

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
    wait_drawn(page, "Raw attention")
    words = [REPORT.words[index] for index in REPORT.findings[5].word_indices]
    assert len(words) == 3
    joined = select_map(api.pack("raw"), [token for word in words for token in word.token_indices]).values
    tick = "return parseFloat(document.getElementById('medinterp-key-tick').style.left)"
    assert page.run(tick) == pytest.approx(100 * min(1, joined.max() / PEAK) ** 0.5, abs=0.1)
    assert joined.max() < 0.9 * PEAK


def test_a_word_above_the_range_is_told(page: Page, api: FakeApi, film: Path) -> None:
    """The key's upper end is what nine words in ten stay below; where one is above, it says so."""
    api.sharp = ("nodule",)
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    wait_drawn(page, "Raw attention")
    assert page.text("key-high") == "\u2265 0.0625"


def test_sinks_are_left_out_on_request_only(page: Page, api: FakeApi, film: Path) -> None:
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    page.wait_overlay()
    assert not page.element("sinks").is_displayed()  # there are none: nothing to leave out
    api.sinks = True
    page.read()
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    page.wait("return !document.getElementById('medinterp-sinks-label').hidden")
    side = 16 * 8
    whole = np.array(page.pixels("overlay", side, side)).reshape(16, 8, 16, 8, 4)[..., 3].mean(axis=(1, 3))
    with page.asks_nothing():
        page.element("sinks").click()
        left = np.array(page.pixels("overlay", side, side)).reshape(16, 8, 16, 8, 4)[..., 3].mean(axis=(1, 3))
    assert page.element("sinks").is_displayed()
    sinks = np.eye(16, dtype=bool)
    assert left[sinks].mean() < 0.6 * whole[sinks].mean(), "what is left is the neighbours' light"
    far = np.abs(np.subtract.outer(np.arange(16), np.arange(16))) > 1
    assert np.abs(left - whole)[far].max() < 8


def test_controls(page: Page, api: FakeApi, film: Path) -> None:
    """Every control draws another picture at once and asks nobody; a stretched scale says what it is."""
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    wait_drawn(page, "Raw attention")
    seen = [page.overlay_pixels()]

    def changed() -> None:
        seen.append(page.overlay_pixels())
        assert seen[-1] not in seen[:-1]

    with page.asks_nothing():
        page.element("scale-map").click()
        changed()
        assert "Stretched to this word alone" in page.text("scale-note")
        assert page.text("key-high") == "high", "the report's numbers do not hold for a stretched map"
        slider = page.element("opacity")
        for step in range(4):
            slider.send_keys(Keys.ARROW_RIGHT)
            changed()
            assert page.text("opacity-value") == f"{55 + 5 * step} %"
        assert max(seen[-1][3::4]) > max(seen[1][3::4]), "more opaque"
        page.element("contours").click()
        changed()
        page.element("threshold").send_keys(*[Keys.ARROW_RIGHT] * 8)
        changed()
        assert page.text("threshold-value") == "40 %"
        alphas = np.array(seen[-1][3::4])
        assert (alphas == 0).mean() > 0.2, "what is weaker is not drawn"
        Select(page.element("colormap")).select_by_value("cividis")
        changed()
        page.element("scale-report").click()
        assert "Faint" in page.text("scale-note")

        page.element("show").click()
        assert not page.element("overlay").is_displayed()
        page.run("document.activeElement.blur()")
        ActionChains(page.driver).send_keys("o").perform()
        assert page.element("overlay").is_displayed()
    other = page.run("return [...document.getElementById('medinterp-method').options].map((o) => o.disabled)")
    assert other == [False, True, False, False], "what was not computed with this report cannot be chosen"


def test_large_film_is_drawn_as_large_as_it_is_shown(page: Page, api: FakeApi, tmp_path: Path) -> None:
    """A film larger than the screen comes once; zooming in shows more of its pixels, and asks nobody."""
    path = tmp_path / "large.png"
    path.write_bytes(film_png(1800, 2400))
    page.upload(path)
    page.read()
    page.word(NODULE).click()
    page.wait_overlay()
    films = api.paths("GET", "film.png")
    assert len(films) == 1
    fitted = page.film_place()
    assert fitted[2] / fitted[3] == pytest.approx(0.75, rel=0.001)
    with page.asks_nothing():
        for _ in range(3):
            page.element("zoom-in").click()
        near = page.film_place()
        assert near[2] == pytest.approx(1.25**3 * fitted[2], rel=1e-3)
        drag = ActionChains(page.driver).move_to_element(page.element("stage")).click_and_hold()
        drag.move_by_offset(0, -40).release().perform()
        moved = page.film_place()
        assert moved[1] == pytest.approx(near[1] - 40, abs=1)
        assert moved[0] == pytest.approx(near[0], abs=1)
        page.run("document.getElementById('medinterp-stage').focus()")
        ActionChains(page.driver).send_keys("-", "0").perform()
        assert page.film_place() == pytest.approx(fitted)
        ActionChains(page.driver).send_keys("+").perform()
        assert page.film_place()[2] == pytest.approx(1.25 * fitted[2], rel=1e-3)
        page.element("zoom-fit").click()
        assert page.film_place() == pytest.approx(fitted)


def test_the_wheel_zooms_about_the_pointer(page: Page, film: Path) -> None:
    """The point of the film under it stays where it is; a film that is smaller than the stage stays in the middle."""
    page.upload(film)
    page.read()
    for _ in range(5):
        page.element("zoom-in").click()
    left, top, width, height = page.film_place()
    stage = page.element("stage")
    box = stage.rect
    assert left < 0 and top < 0 and left + width > box["width"]
    at = (round(box["width"] / 2) - 150, round(box["height"] / 2) + 60)
    share = ((at[0] - left) / width, (at[1] - top) / height)
    origin = ScrollOrigin.from_element(stage, -150, 60)
    with page.asks_nothing():
        for _ in range(4):
            ActionChains(page.driver).scroll_from_origin(origin, 0, -120).perform()
        left, top, wide, high = page.film_place()
        assert wide == pytest.approx(1.25**4 * width, rel=1e-3)
        assert (left + share[0] * wide, top + share[1] * high) == pytest.approx(at, abs=2)
        for _ in range(9):
            ActionChains(page.driver).scroll_from_origin(origin, 0, 120).perform()
        left, top, wide, high = page.film_place()
    assert left == pytest.approx(box["width"] - left - wide, abs=1), "fitted, in the middle"
    assert high == pytest.approx(box["height"], abs=1)


def test_maps_that_expired(page: Page, api: FakeApi, film: Path) -> None:
    """Maps that cannot be had are said, and no other method's stand for them; the report stays."""
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    wait_drawn(page, "Raw attention")
    assert page.text("subject") == "heart"
    api.refuse_maps = GONE
    choose_method(page, "occlusion")
    page.wait("return !document.getElementById('medinterp-error').hidden")
    assert "It has expired." in page.text("error")
    assert not page.element("overlay").is_displayed()
    assert page.text("subject") == ""
    page.word(NODULE).click()
    assert not page.element("overlay").is_displayed()
    assert page.word(NODULE).is_displayed()
    api.refuse_maps = None
    choose_method(page, "raw")
    wait_drawn(page, "Raw attention")
    assert page.text("subject") == "nodule"
