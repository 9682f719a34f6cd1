"""The exported page: one file, safe whatever the report says, and it draws what the library draws."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp import export
from medinterp.errors import SelectionError
from medinterp.types import Film
from tests.api_samples import sample_explanation, sample_film
from tests.browser import Page, browser, chromium  # noqa: F401 - pytest finds fixtures by name
from tests.page_file import (
    ATTACK,
    assert_drawn,
    chips,
    click_word,
    hostile,
    made,
    open_file,
    report_text,
    with_consensus,
    with_second_method,
)
from tests.page_fixtures import choose_method
from tests.report_samples import all_kinds_explained
from tests.sources_samples import sample_reliance

pytestmark = pytest.mark.filterwarnings("error")

NAMES = {"http://www.w3.org/2000/svg"}
"""Addresses that name a thing and lead nowhere."""
SIZES = ((1440, 900), (1280, 800), (820, 1180), (390, 844))


class Tags(HTMLParser):
    """All start tags with their attributes, and what scripts and styles hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inline.append("")

    def handle_data(self, data: str) -> None:
        if self.cdata_elem in ("script", "style"):
            self.inline[-1] += data

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.tags)


# The file


def test_nothing_outside_the_file_is_named() -> None:
    text = export.html(with_second_method(sample_explanation()))
    tags = Tags(text)
    for tag, attributes in tags.tags:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        assert tag != "link" or attributes["rel"] == "icon"
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "srcset", "action", "data"):
                assert value is not None and value.startswith("data:image/svg+xml,")
    assert set(re.findall(r"(?:https?:|wss?:)?//[\w.-]+\.[a-z]{2,}[^\s\"'`)<]*", text)) <= NAMES
    assert "@import url" not in text and not re.search(r"url\((?!#|data:)", text)


def test_the_files_policy_lets_its_own_script_and_style_run_and_nothing_else() -> None:
    text = export.html(sample_explanation())
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found
    policy = dict(part.split(" ", 1) for part in html.unescape(found[1]).split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "blob: data:" and "connect-src" not in policy
    digests = [base64.b64encode(hashlib.sha256(own.encode()).digest()).decode() for own in Tags(text).inline]
    assert len(digests) == 4, "style, settings, data, script"
    assert policy["style-src"] == f"'sha256-{digests[0]}'" and policy["script-src"] == f"'sha256-{digests[3]}'"
    assert text.index("Content-Security-Policy") < min(text.index("<style"), text.index("<script"))


def test_a_report_without_maps_or_an_unknown_method_is_refused() -> None:
    sample = sample_explanation()
    with pytest.raises(SelectionError, match="no maps"):
        export.html(dataclasses.replace(sample, packs={}))
    with pytest.raises(SelectionError, match=r"crystal.*raw"):
        export.html(sample, method="crystal")


def test_markup_in_any_text_stays_text() -> None:
    text = export.html(hostile())
    tags, safe = Tags(text), Tags(export.html(sample_explanation()))
    assert [tag for tag, _ in tags.tags] == [tag for tag, _ in safe.tags]
    data = tags.inline[2]
    assert "<" not in data
    known = json.loads(data)
    assert known["explanation"]["report"]["words"][0]["text"] == ATTACK
    assert known["packs"][0]["notes"] == [ATTACK]
    assert ATTACK not in text and html.escape(ATTACK) in text


def test_markup_in_a_report_runs_nothing_in_a_browser(browser: Page, tmp_path: Path) -> None:
    open_file(browser, hostile(), tmp_path / "report.html")
    click_word(browser, ATTACK)
    browser.wait_overlay()
    assert ATTACK in browser.text("subject")
    assert browser.driver.title == f"Chest film report by {ATTACK}"
    assert ATTACK in browser.text("notice") and ATTACK in browser.text("warnings")
    assert [status for status, told in chips(browser) if ATTACK in told] == ["uncertain"]
    assert ATTACK in made(browser)["Prompt"] and ATTACK in made(browser)["Film: window"]
    browser.element("image-1").click()
    browser.wait("return document.getElementById('medinterp-error').checkVisibility()")
    assert browser.text("error").startswith(f"This file has no maps by {ATTACK}.")
    assert browser.run("return window.hit === undefined && document.querySelector('#medinterp img') === null") is True
    assert browser.logs()[0] == []


def test_without_a_script_the_text_is_read(browser: Page, tmp_path: Path) -> None:
    """Banner, notice, warnings, then the report as it was written; thoughts are none of it."""
    sample = hostile()
    text = "<unused94>thought\nHm.<unused95>LUNGS: Clear & <b>dry</b>.\n  HEART: Normal."
    thinking = dataclasses.replace(all_kinds_explained().report.thinking[0], end=text.index("LUNGS"))
    report = dataclasses.replace(sample.report, text=text, thinking=(thinking,))
    path = tmp_path / "report.html"
    path.write_text(export.html(dataclasses.replace(sample, report=report)), encoding="utf-8")
    switched = "Emulation.setScriptExecutionDisabled"
    browser.driver.execute_cdp_cmd(switched, {"value": True})
    try:
        browser.driver.get(path.as_uri())
        seen = browser.driver.find_element("css selector", "body").text
        browser.resize(390, 844, phone=True)
        assert browser.driver.find_element("css selector", "noscript p").rect["y"] < 300, "in sight on a phone too"
    finally:
        browser.driver.execute_cdp_cmd(switched, {"value": False})
    lines = seen.splitlines()
    assert lines[:2] == ["medinterp", "Research use only, not for diagnosis."]
    assert lines[2] == "This page draws its maps by a script, which is switched off here."
    assert lines[3:5] == [f"Chest film report by {ATTACK}", ATTACK]
    assert lines[5:7] == [f"Warning: {ATTACK}", f"Warning: Prior film: {ATTACK}"]
    assert lines[7:] == ["", "LUNGS: Clear & <b>dry</b>.", "  HEART: Normal.", "", "Cut off after 8 tokens."]


# What is drawn


def test_a_clicked_word_is_drawn_as_the_library_draws_it(browser: Page, tmp_path: Path) -> None:
    explanation = sample_explanation(sample_film(131, 97))
    path = tmp_path / "report.html"
    open_file(browser, explanation, path)
    assert not browser.element("overlay").is_displayed()
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "raw", (2, 3))
    click_word(browser, "Größe")
    assert_drawn(browser, explanation, "raw", (6,))
    pressed = browser.driver.find_elements("css selector", '.medinterp-word[aria-pressed="true"]')
    assert [word.text for word in pressed] == ["Größe"]
    browser.run(
        "const o = document.getElementById('medinterp-opacity'); o.value = 1; o.dispatchEvent(new Event('input'))"
    )
    assert_drawn(browser, explanation, "raw", (6,), 1.0)
    pressed[0].send_keys(Keys.ESCAPE)
    assert not browser.element("overlay").is_displayed()
    browser.driver.find_element("css selector", "#medinterp-findings button").click()
    assert_drawn(browser, explanation, "raw", (2, 3), 1.0)
    console, requests = browser.logs()
    assert console == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]


def test_methods_can_be_changed_and_signed_maps_keep_both_signs(browser: Page, tmp_path: Path) -> None:
    """A method that no registry knows any more is told by its name."""
    explanation = with_second_method(sample_explanation())
    open_file(browser, explanation, tmp_path / "report.html", method="other")
    assert [option.text for option in Select(browser.element("method")).options] == ["other", "Raw attention"]
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "other", (2, 3))
    assert "made by hand" in browser.text("details") and "against" in browser.text("key-low")
    assert "no longer has this method" in browser.text("method-note")
    choose_method(browser, "raw")
    assert_drawn(browser, explanation, "raw", (2, 3))
    assert "last layer" in browser.text("method-note").lower() and "last layer" in browser.text("details")


def test_where_the_members_of_a_consensus_disagree_is_a_view_of_its_own(browser: Page, tmp_path: Path) -> None:
    """The consensus names its members, also one whose maps the report does not hold."""
    explanation = with_consensus(sample_explanation())
    open_file(browser, explanation, tmp_path / "report.html", method="raw")
    methods = Select(browser.element("method")).options
    assert [(one.text, one.is_enabled()) for one in methods] == [
        ("Raw attention", True),
        ("Consensus", True),
        ("Edge gradient", False),
    ]
    click_word(browser, "effusion")
    assert_drawn(browser, explanation, "raw", (2, 3))
    assert not browser.element("quantity").is_displayed()
    choose_method(browser, "consensus")
    assert_drawn(browser, explanation, "consensus", (2, 3))
    members = "Bright where Raw attention and Edge gradient rank a cell"
    assert browser.text("method-note").startswith(f"{members} high alike.")
    browser.element("quantity-disagreement").click()
    assert_drawn(browser, explanation, "consensus", (2, 3), quantity="disagreement")
    assert browser.text("drawn-method") == "Consensus, disagreement"
    assert browser.text("method-note").startswith(f"{members} far apart.")


def test_a_faint_map_is_stretched_only_on_request_and_then_says_so(browser: Page, tmp_path: Path) -> None:
    explanation = with_second_method(sample_explanation())
    for pack in explanation.packs.values():
        pack.values[6] *= np.float32(0.01)
    open_file(browser, explanation, tmp_path / "report.html")
    click_word(browser, "effusion")
    assert "can be compared" in browser.text("scale-note")
    click_word(browser, "Größe")
    assert browser.text("scale-note").startswith("Faint: the strongest cell reaches 1 % of the report's range.")
    browser.element("scale-map").click()
    assert "Do not compare" in browser.text("scale-note")
    assert_drawn(browser, explanation, "raw", (6,), scale="map")
    choose_method(browser, "other")
    assert_drawn(browser, explanation, "other", (6,), scale="map")


def test_a_large_film_is_made_smaller_and_a_prior_film_stands_beside_it(browser: Page, tmp_path: Path) -> None:
    noise = np.random.default_rng(7).integers(0, 2**16, size=(1500, 700)).astype(np.uint16)
    film = Film(np.asarray(cv2.GaussianBlur(noise, (0, 0), 9), dtype=np.uint16), "application/dicom", "0")
    sample = sample_explanation(film)
    values = np.random.default_rng(9).random((8, 4, 4)).astype(np.float32)
    prior = {"raw": dataclasses.replace(sample.packs["raw"], values=values, image=1)}
    explanation = dataclasses.replace(sample, prior=sample_film(131, 97), prior_packs=prior)
    open_file(browser, explanation, tmp_path / "report.html")
    assert browser.run("return document.getElementById('medinterp-film').dataset.height") == "1024"
    assert browser.text("facts").startswith("700 × 1500 pixels, here 478 × 1024")
    click_word(browser, "No")
    assert_drawn(browser, explanation, "raw", (1,))
    browser.element("image-1").click()
    assert_drawn(browser, explanation, "raw", (1,), image=1)
    assert "131" in browser.text("facts") and made(browser)["Prior film"].startswith("97 × 131 pixels")


# How it is used


def test_the_keyboard_alone_is_enough(browser: Page, tmp_path: Path) -> None:
    open_file(browser, sample_explanation(), tmp_path / "report.html")
    reached = "return document.activeElement.textContent"
    for _ in range(60):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if browser.run("return document.activeElement.matches('.medinterp-word')"):
            break
    assert browser.run(reached) == "No", "the tab key leads to the first word"
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.text("subject") == "No"
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.run(reached) == "effusion" == browser.text("subject")
    browser.wait_overlay()
    focused = browser.driver.switch_to.active_element
    assert focused.get_attribute("aria-pressed") == "true"
    assert browser.run("return document.querySelectorAll('.medinterp-word[tabindex=\"0\"]').length") == 1
    focused.send_keys(Keys.ESCAPE)
    assert not browser.element("overlay").is_displayed()


def test_what_needs_a_model_is_not_offered(browser: Page, tmp_path: Path) -> None:
    """A file has nobody to ask: no button, tint, key, drop or step back leads to a question, or loses the report."""
    path = tmp_path / "report.html"
    open_file(browser, sample_explanation(), path)
    click_word(browser, "effusion")
    for name in ("read", "ask", "files", "link", "model-view", "tab-compare", "tab-text", "tab-heads", "judge", "stop"):
        assert not browser.driver.find_element("id", f"medinterp-{name}").is_displayed(), name
    assert tints(browser) == ["attention", "surprise", "none"]
    browser.run(
        "const data = new DataTransfer(); data.items.add(new File(['x'], 'film.png', { type: 'image/png' }));"
        "document.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true, bubbles: true }));"
        "document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));"
    )
    browser.run("document.activeElement.blur()")
    ActionChains(browser.driver).send_keys("m").perform()
    browser.driver.get(f"{path.as_uri()}#elsewhere")
    browser.driver.back()
    browser.wait("return location.hash === ''")
    assert browser.state == "read" and browser.text("subject") == "effusion"
    browser.element("keys").click()
    listed = browser.text("keys-list")
    assert "as the model saw it" not in listed and "details of what is selected" in listed
    assert browser.logs()[0] == []


def tints(page: Page) -> list[str]:
    """Those that can be chosen."""
    return [str(one.get_attribute("value")) for one in Select(page.element("tint")).options if one.is_enabled()]


def test_reliance_that_the_report_keeps_is_a_tint(browser: Page, tmp_path: Path) -> None:
    """What was asked of the model before stands in the file; nobody is asked again."""
    reliance = sample_reliance()
    open_file(browser, dataclasses.replace(sample_explanation(), reliance=reliance), tmp_path / "report.html")
    assert tints(browser) == ["attention", "surprise", "reliance", "none"]
    Select(browser.element("tint")).select_by_value("reliance")
    drops = reliance.reliance
    assert browser.text("legend").split() == ["0", f"{max(1.0, drops.max()):.1f}", "nats"]
    strengths = browser.run(
        "return [...document.querySelectorAll('.medinterp-word')].map((w) => +w.style.getPropertyValue('--mi-tint'))"
    )
    assert strengths == pytest.approx(0.36 * np.sqrt(np.maximum(drops, 0) / max(1.0, drops.max())), abs=1e-3)
    assert browser.logs()[0] == []


def test_a_region_is_asked_without_a_model(browser: Page, tmp_path: Path) -> None:
    """The maps are here: which words a box drove is computed in the file."""
    open_file(browser, sample_explanation(sample_film(400, 300)), tmp_path / "report.html")
    browser.element("tool-region").click()
    drag = ActionChains(browser.driver).move_to_element(browser.element("stage")).click_and_hold()
    drag.move_by_offset(60, 60).release().perform()
    browser.wait("return document.querySelectorAll('#medinterp-region [data-driven]').length === 3")
    assert "region" in browser.text("legend").lower()
    assert browser.logs()[0] == []


def test_the_page_fits_its_window(browser: Page, tmp_path: Path) -> None:
    explanation = all_kinds_explained(sample_film(900, 700))
    for width, height in SIZES:
        browser.resize(width, height, phone=width < 900)
        open_file(browser, explanation, tmp_path / "report.html")
        click_word(browser, "nodule")
        browser.wait_overlay()
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth") is True, width
        left, top, wide, high = browser.film_place()
        assert wide / high == pytest.approx(700 / 900, abs=0.02)
        canvas = browser.run("const film = document.getElementById('medinterp-film'); return [film.width, film.height]")
        assert isinstance(canvas, list)
        assert left > -1e-6 and top > -1e-6 and left + wide <= canvas[0] + 1 and top + high <= canvas[1] + 1
        assert high > 0.3 * height or wide > 0.6 * width, "the film is large enough to be looked at"
        assert report_text(browser).startswith("TECHNIQUE")
        browser.driver.save_screenshot(str(tmp_path / f"{width}.png"))
