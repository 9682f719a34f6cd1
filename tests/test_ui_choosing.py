"""Ways to choose words: a phrase by dragging, a sentence, a section, a search; none of them asks anybody."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from medinterp.types import Word
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
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
    wait_paths,
)

pytestmark = pytest.mark.filterwarnings("error")


def within(start: int, end: int) -> list[int]:
    """The words of text[start:end]."""
    return [word.index for word in REPORT.words if start <= word.start < end]


def sentence_of(word: Word) -> list[int]:
    sentence = next(one for one in REPORT.sentences if one.start <= word.start < one.end)
    return within(sentence.start, sentence.end)


@pytest.fixture
def read(page: Page, api: FakeApi, film: Path) -> Page:
    """A report with its maps."""
    page.upload(film)
    page.read()
    wait_paths(api, "/maps/packed", 1)
    page.wait("return document.getElementById('medinterp-key-high').textContent === '0.0625'")
    return page


def place(node: WebElement) -> tuple[int, int]:
    return node.rect["x"], node.rect["y"]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_phrase_by_dragging(read: Page, backwards: bool) -> None:
    """From the word where the button goes down to the one where it comes up; the text itself is not selected."""
    first, last = NODULE - 1, NODULE + 3
    begin, end = (last, first) if backwards else (first, last)
    before = place(read.word(end))
    with read.asks_nothing():
        actions = ActionChains(read.driver).move_to_element(read.word(begin)).click_and_hold()
        for index in range(begin, end, -1 if backwards else 1):
            actions.move_to_element(read.word(index))
        actions.move_to_element(read.word(end)).release().perform()
        assert chosen_words(read) == list(range(first, last + 1))
        read.wait_overlay()
    assert read.run("return getSelection().isCollapsed") is True
    assert read.run("return document.activeElement.dataset.wordIndex") == str(end)
    assert place(read.word(end)) == before, "the drawer that opened has moved no word"
    assert read.text("word").startswith("“small nodule in the left”")
    read.word(HEARTS).click()
    assert chosen_words(read) == [HEARTS], "a click is no drag"


def test_a_sentence_by_double_click(read: Page) -> None:
    """The first click may open the drawer: the second one still meets the same word."""
    with read.asks_nothing():
        ActionChains(read.driver).double_click(read.word(NODULE)).perform()
        read.wait("return document.getElementById('medinterp-subject').textContent.includes(' ')")  # more than a word
        assert chosen_words(read) == sentence_of(REPORT.words[NODULE])
    assert read.element("drawer").is_displayed()
    assert read.run("return getSelection().isCollapsed") is True
    assert read.text("subject") == "A small nodule in the left upper zone"


def test_sentence_by_sentence_with_the_keyboard(read: Page) -> None:
    """Shift and an arrow go to the next or the former sentence, over the ends of sections."""
    read.word(NODULE).click()
    sentences = [within(one.start, one.end) for one in REPORT.sentences]
    at = sentences.index(sentence_of(REPORT.words[NODULE]))
    with read.asks_nothing():
        for step in (1, 2, 3):
            press(read, Keys.ARROW_RIGHT, shift=True)
            assert chosen_words(read) == sentences[at + step]
        for step in (2, 1, 0, -1):
            press(read, Keys.ARROW_LEFT, shift=True)
            assert chosen_words(read) == sentences[at + step]
        press(read, Keys.ARROW_LEFT, shift=True)
        assert chosen_words(read) == sentences[0], "there is none before the first"


def test_a_whole_section(read: Page) -> None:
    """By its button, which a mouse or the keyboard reaches."""
    section = REPORT.sections[2]
    button = read.driver.find_element("css selector", f"[aria-label='Select the whole section {section.name}']")
    with read.asks_nothing():
        read.run("arguments[0].focus()", button)
        assert float(button.value_of_css_property("opacity")) == 1
        press(read, Keys.ENTER)
        assert chosen_words(read) == within(section.start, section.end)
        ActionChains(read.driver).move_to_element(read.word(NODULE)).perform()
        lungs = REPORT.sections[1]
        read.driver.find_element("css selector", f"[aria-label='Select the whole section {lungs.name}']").click()
        assert chosen_words(read) == within(lungs.start, lungs.end)


def test_search(read: Page) -> None:
    """"/" leads there; hits are marked, Enter goes from one to the next, Escape comes back; no hit is told."""
    effusions = [word.index for word in REPORT.words if word.text == "effusions"]
    assert len(effusions) == 2
    hits = "return [...document.querySelectorAll('.mi-hit')].map((word) => Number(word.dataset.wordIndex))"
    read.word(NODULE).click()
    with read.asks_nothing():
        press(read, "/")
        assert read.run("return document.activeElement.id") == "medinterp-search"
        press(read, *"pleural EFF")
        assert read.run(hits) == [at + k for at in effusions for k in (-1, 0)]
        assert chosen_words(read) == [NODULE], "nothing is chosen by typing"
        for at in (effusions[0], effusions[1], effusions[0]):
            press(read, Keys.ENTER)
            assert chosen_words(read) == [at - 1, at]
        press(read, "x")
        assert read.run(hits) == []
        assert "mi-none" in str(read.element("search").get_attribute("class"))
        press(read, Keys.ESCAPE)
        assert read.element("search").get_property("value") == ""
        assert read.run("return document.activeElement.dataset.wordIndex") == str(NODULE)
    press(read, Keys.ARROW_RIGHT)
    assert chosen_words(read) == [NODULE + 1]


def test_letters_that_are_typed_are_no_keys(read: Page) -> None:
    """In a field they are letters."""
    press(read, "/")
    press(read, *"mowrpcd?")
    assert read.element("search").get_property("value") == "mowrpcd?"
    assert not read.element("drawer").is_displayed()
    assert read.element("show").is_selected()
    assert read.element("tool-move").get_attribute("aria-checked") == "true"
    assert not read.element("keys-list").is_displayed()


def test_the_keys_are_told(read: Page) -> None:
    """In a dialog that Escape closes; the focus comes back."""
    read.word(NODULE).click()
    press(read, "?")
    assert read.element("keys-list").is_displayed()
    assert "from sentence to sentence" in read.text("keys-list")
    press(read, Keys.ESCAPE)
    assert not read.element("keys-list").is_displayed()
    assert read.run("return document.activeElement.dataset.wordIndex") == str(NODULE)
    assert chosen_words(read) == [NODULE]


def test_the_drawer(read: Page) -> None:
    """It opens by itself where there is room, and stays as the reader leaves it until the next report."""
    assert not read.element("drawer").is_displayed()
    read.word(NODULE).click()
    assert read.element("drawer").is_displayed()
    assert read.element("drawer-open").get_attribute("aria-expanded") == "true"
    read.element("drawer-close").click()
    assert read.run("return document.activeElement.id") == "medinterp-drawer-open"
    read.word(HEARTS).click()
    assert not read.element("drawer").is_displayed()
    press(read, "d")
    assert read.text("word") == "“heart” in HEART"
    read.read()
    assert not read.element("drawer").is_displayed()
    read.resize(1200, 800)
    read.word(NODULE).click()
    assert not read.element("drawer").is_displayed(), "there is no room for a third column"
    read.element("drawer-open").click()
    assert read.text("word") == "“nodule” in LUNGS"
