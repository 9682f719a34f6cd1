"""Boxes on the page: frames over the film, chips, verdicts, and the questions that ask for them."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.report import box_question, build_report
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import api, chosen_words, fake_films, film, open_ask, page, wait_drawn, wait_shown  # noqa: F401

pytestmark = pytest.mark.filterwarnings("error")

TEXT = (
    'Final Answer: ```json\n[{"box_2d": [250, 500, 750, 900], "label": "nodule in the left mid zone"}, '
    '{"box_2d": [100, 100, 300, 200], "label": "right <b>clavicle</b>"}]\n```'
)
BOX = "[...document.querySelectorAll('.mi-box')]"


@pytest.fixture
def read(page: Page, api: FakeApi, film: Path) -> Page:
    """A report that draws two boxes, a token three characters."""
    spans = [(k, min(k + 3, len(TEXT))) for k in range(0, len(TEXT), 3)]
    count = len(spans)
    alternatives = [()] * count
    api.report = build_report(list(range(count)), spans, TEXT, [-0.1] * count, alternatives, [0.5] * count, True)
    page.upload(film)
    page.read()
    return page


def test_boxes_lie_on_the_film_and_choose_their_words(read: Page, api: FakeApi) -> None:
    left, top, width, height = read.film_place()
    stage = "const s = document.getElementById('medinterp-stage').getBoundingClientRect();"
    places = read.run(
        f"{stage} return {BOX}.map((box) => {{ const b = box.getBoundingClientRect();"
        " return [b.left - s.left, b.top - s.top, b.width, b.height]; })"
    )
    expected = [(0.5, 0.25, 0.4, 0.5), (0.1, 0.1, 0.1, 0.2)]
    for found, (x, y, w, h) in zip(places, expected, strict=True):
        assert found == pytest.approx([left + x * width, top + y * height, w * width, h * height], abs=2.5)
    read.run(f"{BOX}[0].focus()")
    read.driver.switch_to.active_element.send_keys(Keys.ENTER)
    words = api.report.boxes[0].word_indices
    assert chosen_words(read) == list(range(words[0], words[-1] + 1))
    wait_drawn(read, "Raw attention")
    assert read.run(f"return {BOX}.map((box) => box.getAttribute('aria-pressed'))") == ["true", "false"]
    read.run("document.querySelectorAll('.mi-box-chip')[1].click()")
    assert read.run(f"return {BOX}.map((box) => box.getAttribute('aria-pressed'))") == ["false", "true"]
    assert read.run(f"return {BOX}[1].textContent") == "right <b>clavicle</b>"


def test_a_box_is_judged_at_a_click(read: Page, api: FakeApi) -> None:
    read.element("judge-boxes").click()
    read.wait("return document.querySelector('.mi-box-verdict')")
    said = read.element("box-list").text
    assert "Says here, looked there" in said and "IoU 0.25" in said and "13 %" in said
    assert [what for what, _ in api.questions.asked] == ["boxes"]
    assert read.run(f"return {BOX}[0].dataset.verdict") == "elsewhere"
    assert not read.run("return document.getElementById('medinterp-judge-boxes').checkVisibility()")


def test_a_question_for_boxes_stands_beside_the_prompt(page: Page, api: FakeApi) -> None:
    open_ask(page)
    wait_shown(page, "where")
    Select(page.element("where")).select_by_value("pleural effusion")
    assert page.element("prompt").get_property("value") == box_question("pleural effusion")
    assert page.element("prompt-reset").is_displayed()
