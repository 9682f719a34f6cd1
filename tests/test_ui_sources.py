"""What else is known of the words: tints, "From the text", and layers and heads."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.api.problems import Problem
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_asking import HEADS, LAYERS, reliances
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    REPORT,
    api,
    chosen_words,
    fake_films,
    film,
    page,
    press,
    wait_drawn,
    wait_for,
    wait_shown,
)
from tests.page_maps import GRID

pytestmark = pytest.mark.filterwarnings("error")

BUSY = Problem(type="urn:medinterp:problem:service-busy", title="The service is busy.", status=503, detail="Four wait.")


@pytest.fixture
def read(page: Page, api: FakeApi, film: Path) -> Page:
    """A report with the map of a word."""
    page.upload(film)
    page.read()
    page.word(HEARTS).click()
    wait_drawn(page, "Raw attention")
    return page


def tints(page: Page) -> np.ndarray:
    """How strongly each word is tinted, 0 to 0.36."""
    found = page.run(
        "return [...document.querySelectorAll('.medinterp-word')].map((word) =>"
        " Number(word.style.getPropertyValue('--mi-tint')))"
    )
    return np.array(found, dtype=float)


# Tints


def test_tints_of_the_report_alone(read: Page) -> None:
    """Attention on the film, surprise, none: each with a legend, and no request."""
    masses = np.array([word.image_mass for word in REPORT.words])
    surprises = np.sqrt(np.clip([-word.logprob / np.log(1000) for word in REPORT.words], 0, 1))
    with read.asks_nothing():
        assert tints(read) == pytest.approx(0.36 * masses / masses.max(), abs=0.001)
        assert read.text("legend").replace("\n", " ").split()[-2:] == [f"{100 * masses.max():.0f}", "%"]
        tint = Select(read.element("tint"))
        tint.select_by_value("surprise")
        assert tints(read) == pytest.approx(0.36 * surprises, abs=0.001)
        assert read.text("legend").startswith("certain")
        tint.select_by_value("none")
        assert tints(read).max() == 0
        assert not read.element("legend").is_displayed()


def test_reliance_asks_the_model_once(read: Page, api: FakeApi) -> None:
    """What each word loses with another film; a word that gains has none; it is known from then on."""
    tint = Select(read.element("tint"))
    tint.select_by_value("reliance")
    read.wait("return document.getElementById('medinterp-legend').textContent.includes('nats')")
    drops = np.array([word.reliance for word in reliances("0" * 32, REPORT).words])
    assert drops.min() < 0
    assert tints(read) == pytest.approx(0.36 * np.sqrt(np.clip(drops, 0, None) / drops.max()), abs=0.001)
    assert f"{drops.max():.1f} nats" in read.text("legend")
    with read.asks_nothing():
        tint.select_by_value("attention")
        tint.select_by_value("reliance")
        assert f"{drops.max():.1f} nats" in read.text("legend")
    assert [what for what, _ in api.questions.asked] == ["reliance"]


def test_reliance_that_cannot_be_had(read: Page, api: FakeApi) -> None:
    """The problem is said, and the words are tinted as before."""
    before = tints(read)
    api.questions.refuse = BUSY
    Select(read.element("tint")).select_by_value("reliance")
    wait_shown(read, "error")
    assert read.text("error").startswith("The service is busy.")
    read.wait("return document.getElementById('medinterp-tint').value === 'attention'")
    assert tints(read) == pytest.approx(before)


# From the text


def test_from_the_text(read: Page, api: FakeApi) -> None:
    """The film's share against the text's; words of report and prompt; asked once for a selection."""
    read.element("tab-text").click()
    api.questions.hold_at = 2
    read.element("sources-ask").click()
    wait_shown(read, "sources-stop")
    api.questions.hold_at = None
    wait_shown(read, "shares")
    assert api.questions.asked == [("text_sources", {"words": f"{HEARTS}-{HEARTS}"})]
    shares = read.text("shares")
    assert "The film\n25 %" in shares and "The report so far\n25 %" in shares
    before = [word.index for word in REPORT.words if word.start < REPORT.words[HEARTS].start]
    strengths = tints(read)
    assert (np.diff(strengths[before]) > 0).all(), "the later a word, the more it gave"
    assert strengths[HEARTS + 1 :].max() == 0, "what came later gave nothing"
    assert read.text("legend").startswith("From the text: ")

    with read.asks_nothing():
        read.driver.find_element("css selector", "#medinterp-measure-gradient").click()
        assert "The film\n+1.5" in read.text("shares")
        source = read.driver.find_element("css selector", "[data-source]")
        index = int(str(source.get_attribute("data-source")))
        assert source.text == REPORT.words[index].text
        source.click()
        assert chosen_words(read) == [index]
        wait_shown(read, "sources-ask")
        assert not read.text("legend").startswith("From the text"), "of this word nothing was asked"
        read.word(HEARTS).click()
        assert "The film\n+1.5" in read.text("shares"), "it is known"
        read.element("tab-word").click()
        assert not read.text("legend").startswith("From the text")


def test_stop_and_failure(read: Page, api: FakeApi) -> None:
    """Stop ends it on the server; a problem is said; then it can be asked again."""
    read.element("tab-text").click()
    api.questions.hold_at = 1
    read.element("sources-ask").click()
    wait_shown(read, "sources-stop")
    read.element("sources-stop").click()
    wait_for(lambda: api.questions.stopped == 1)
    assert read.run("return document.activeElement.id") == "medinterp-sources-ask"
    api.questions.hold_at, api.questions.refuse = None, BUSY
    read.element("sources-ask").click()
    wait_shown(read, "error")
    api.questions.refuse = None
    read.element("sources-ask").click()
    wait_shown(read, "shares")
    read.read()
    assert not read.element("drawer").is_displayed()
    read.word(NODULE).click()
    read.element("tab-text").click()
    wait_shown(read, "sources-ask")


# Layers and heads


def open_heads(page: Page) -> None:
    page.element("tab-heads").click()
    page.element("heads-ask").click()
    wait_shown(page, "heads-grid")


def head(page: Page, layer: int, number: int) -> None:
    page.driver.find_element("css selector", f"[data-head='{layer},{number}']").click()


def test_heads(read: Page, api: FakeApi) -> None:
    """A grid of the shares, kinds of layers told apart; one head's map on the film, in the method's place."""
    open_heads(read)
    assert api.questions.asked == [("heads", {"words": f"{HEARTS}-{HEARTS}"})]
    rows = "[...document.querySelectorAll('#medinterp-heads-grid tbody th')]"
    names = read.run(f"return {rows}.map((head) => head.innerText)")
    assert names == ["0 sliding", "1 global", "2 sliding"]
    labels = read.run("return [...document.querySelectorAll('.mi-head')].map((cell) => cell.ariaLabel)")
    assert isinstance(labels, list)
    assert len(labels) == LAYERS * HEADS
    assert labels[HEADS + 2] == "Layer 1, head 2: 22 % on the film"
    method = read.overlay_pixels()
    with read.asks_nothing():
        head(read, 1, 2)
        assert read.text("drawn-method") == "Attention of layer 1, head 2"
        assert "layers and heads" in read.text("scale-note")
        side = 8 * GRID
        alpha = np.array(read.pixels("overlay", side, side)).reshape(GRID, 8, GRID, 8, 4)[..., 3].mean(axis=(1, 3))
        assert np.unravel_index(alpha.argmax(), alpha.shape) == (1, 2), "where this head looked"
        assert alpha[4:, 5:].max() < 5
        read.run("document.querySelector('[data-head=\"1,2\"]').focus()")
        press(read, Keys.ARROW_DOWN, Keys.ENTER)
        assert read.text("drawn-method") == "Attention of layer 2, head 2"
        press(read, Keys.ENTER)
        assert read.text("drawn-method") == "Raw attention", "pressed again, it is left"
        head(read, 0, 0)
        read.element("tab-word").click()
        assert read.text("drawn-method") == "Raw attention"
        assert read.overlay_pixels() == method
        read.element("tab-heads").click()
        head(read, 0, 1)
        read.element("drawer-close").click()
        assert read.text("drawn-method") == "Raw attention", "nor does it stay when the drawer is shut"


def test_a_head_is_of_one_selection(read: Page, api: FakeApi) -> None:
    """Another word is drawn by the method, and has not been asked about."""
    open_heads(read)
    head(read, 2, 3)
    read.word(NODULE).click()
    assert read.text("drawn-method") == "Raw attention"
    assert read.text("subject") == "nodule"
    wait_shown(read, "heads-ask")
    assert not read.element("heads-answer").text
