"""The consensus on the page: where its members agree, and how far they do not."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
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

APART = "Consensus, disagreement"
MEMBERS = "Head importance (gradient) and Raw attention"


def open_consensus(page: Page, film: Path) -> None:
    """A report with the consensus, and a word's on the film."""
    choose_method(page, "consensus")
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    wait_drawn(page, "Consensus")
    wait_shown(page, "quantity")


def switch(page: Page, name: str) -> None:
    page.run(f"document.getElementById('medinterp-quantity-{name}').click()")


def wait_key(page: Page, high: str) -> None:
    """Wait until the colour key's upper end is that number."""
    page.wait(f"return document.getElementById('medinterp-key-high').textContent.endsWith('{high}')")


def test_agreement_and_disagreement(page: Page, api: FakeApi, film: Path) -> None:
    """The film, the key, and a sentence that names the members follow the switch, for every word."""
    open_consensus(page, film)
    wait_key(page, "0.0625")
    assert page.text("method-note").startswith(f"Bright where {MEMBERS} rank a cell high alike.")
    agreed = page.overlay_pixels()

    with page.asks_nothing():
        switch(page, "disagreement")
        wait_drawn(page, APART)
        apart = page.overlay_pixels()
        assert apart != agreed
        wait_key(page, "0.5")
        assert page.text("method-note").startswith(f"Bright where {MEMBERS} rank a cell far apart.")
        assert page.element("overlay").get_attribute("aria-label") == f"The map of nodule by {APART}"
        page.word(HEARTS).click()
        assert page.overlay_pixels() != apart
        assert page.text("drawn-method") == APART

        switch(page, "relevancy")
        wait_drawn(page, "Consensus")
        wait_key(page, "0.0625")
        assert page.text("method-note").startswith(f"Bright where {MEMBERS} rank a cell high alike.")
        page.word(NODULE).click()
        assert page.overlay_pixels() == agreed


def test_only_a_consensus_has_it(page: Page, api: FakeApi, film: Path) -> None:
    """Another method is drawn as itself, and a consensus that comes back begins with the agreement."""
    open_consensus(page, film)
    switch(page, "disagreement")
    wait_drawn(page, APART)
    choose_method(page, "raw")
    assert not page.element("quantity").is_displayed()
    wait_drawn(page, "Raw attention")
    wait_key(page, "0.0625")
    choose_method(page, "consensus")
    wait_drawn(page, "Consensus")
    wait_shown(page, "quantity")
    assert page.element("quantity-relevancy").is_selected()
    page.element("forget").click()
    page.wait_state("chosen")
    assert not page.element("quantity").is_displayed()
    assert not page.element("error").is_displayed()


def test_it_waits_while_another_method_is_computed(page: Page, api: FakeApi, film: Path) -> None:
    """The switch is not beside the field of another method; after Stop it is as it was."""
    open_consensus(page, film)
    switch(page, "disagreement")
    wait_drawn(page, APART)
    wait_key(page, "0.5")
    api.questions.hold_at = 1
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-measuring-bar').value === 32")
    assert not page.element("quantity").is_displayed()
    page.element("measuring-stop").click()
    wait_for(lambda: api.questions.stopped == 1)
    assert page.element("quantity").is_displayed()
    assert page.element("quantity-disagreement").is_selected()
    assert page.text("drawn-method") == APART
    assert page.text("method-note").startswith(f"Bright where {MEMBERS} rank a cell far apart.")


def test_maps_that_come_late_are_not_shown(page: Page, api: FakeApi, film: Path) -> None:
    """The method that was chosen last counts, not the one whose maps arrive last."""
    choose_method(page, "consensus")
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    wait_drawn(page, "Consensus")
    asked = len(api.paths("GET", "/maps/packed"))
    api.map_delays_s = [0.6]
    choose_method(page, "raw")
    wait_for(lambda: len(api.paths("GET", "/maps/packed")) == asked + 1)
    assert not page.element("overlay").is_displayed(), "nothing that is not by the chosen method"
    choose_method(page, "consensus")
    wait_drawn(page, "Consensus")
    page.run("window.late = false; setTimeout(() => { window.late = true; }, 900)")
    page.wait("return window.late")
    assert page.text("drawn-method") == "Consensus"
    assert "high alike" in page.text("method-note")
    assert page.element("quantity").is_displayed()


def test_a_disagreement_is_not_judged(page: Page, film: Path) -> None:
    """The question whether the map is true is one about the map."""
    open_consensus(page, film)
    wait_shown(page, "judge")
    switch(page, "disagreement")
    wait_key(page, "0.5")
    page.wait("return !document.getElementById('medinterp-judge').checkVisibility()")
    switch(page, "relevancy")
    wait_shown(page, "judge")
