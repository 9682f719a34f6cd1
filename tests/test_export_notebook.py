"""What a notebook shows of an explanation and of a picture."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from selenium.common.exceptions import WebDriverException

from medinterp import export
from medinterp.explanation import NOTEBOOK_HEIGHT, Explanation
from medinterp.render import Picture
from tests.api_samples import sample_explanation
from tests.browser import Page, browser, chromium  # noqa: F401 - pytest finds fixtures by name
from tests.page_file import assert_drawn, click_word


def explanation() -> Explanation:
    """The sample, as the facade gives it."""
    sample = sample_explanation()
    return Explanation(**{field.name: getattr(sample, field.name) for field in dataclasses.fields(sample)})


def test_a_picture_shows_itself() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    shown = cv2.imdecode(np.frombuffer(Picture(pixels)._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    np.testing.assert_array_equal(shown[:, :, ::-1], pixels)


def test_an_explanation_is_the_exported_page_in_a_frame_that_reaches_nothing_else() -> None:
    frames: list[dict[str, str | None]] = []

    class Frames(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag == "iframe"
            frames.append(dict(attrs))

    one = explanation()
    Frames().feed(str(one._repr_html_()))
    (frame,) = frames
    assert frame["srcdoc"] == export.html(one)
    assert frame["sandbox"] == "allow-scripts"
    assert f"height: {NOTEBOOK_HEIGHT}px" in str(frame["style"])


def test_a_report_without_maps_is_left_to_its_text() -> None:
    assert dataclasses.replace(explanation(), packs={})._repr_html_() is None


def test_a_word_is_clicked_in_the_notebook(browser: Page, tmp_path: Path) -> None:  # noqa: F811
    """In a frame that keeps nothing and reaches nothing; the maps are drawn all the same."""
    shown = explanation()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8>{shown._repr_html_()}", encoding="utf-8")
    browser.logs()
    browser.driver.get(path.as_uri())
    browser.driver.switch_to.frame(0)
    try:
        browser.wait_state("read")
        with pytest.raises(WebDriverException, match="sandboxed"):
            browser.run("return localStorage.length")
        assert not browser.element("overlay").is_displayed()
        click_word(browser, "effusion")
        assert_drawn(browser, shown, "raw", (2, 3))
        browser.element("theme").click()
        assert browser.run("return document.documentElement.dataset.theme") == "light", "for as long as it is seen"
        assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth") is True
    finally:
        browser.driver.switch_to.default_content()
    assert browser.logs()[0] == []
