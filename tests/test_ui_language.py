"""What the page shows of a report's language: statuses, normal statements, names, unread sentences, thoughts."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from medinterp.view.bundle import script
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import api, chosen_words, fake_films, film, open_ask, page  # noqa: F401 - fixtures
from tests.page_reports import ALL_KINDS, THOUGHT, UNREAD, every_kind, thought_only, written

pytestmark = pytest.mark.filterwarnings("error")

KINDS = every_kind()
CLEAR, MENTION, LARGER = 1, 0, 4
"""The first finding of the normal statement; the mention in the history; the effusion, which the impression repeats."""
HIDDEN = sum(word.section is None for word in KINDS.words)
"""Words of the thought: the report's own come after."""
STOPS = "return [...document.querySelectorAll('.medinterp-word[tabindex=\"0\"]')].map((w) => w.dataset.wordIndex)"
SUMMARY = "What the model thought before it answered, 12 words"


@pytest.fixture
def told(page: Page, api: FakeApi, film: Path) -> Page:
    """The page with a report of every kind."""
    api.report = KINDS
    page.upload(film)
    page.read()
    return page


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def focused(page: Page) -> int:
    return int(str(page.run("return document.activeElement.dataset.wordIndex")))


def chosen(page: Page) -> list[str]:
    found = page.run(
        "return [...document.querySelectorAll('.medinterp-word[aria-pressed=true]')].map(w => w.innerText)"
    )
    assert isinstance(found, list)
    return found


def imported(page: Page, module: str, expression: str, *arguments: object) -> object:
    """What an expression of a module's exports (m) and the arguments (a) is."""
    code = script(module).rstrip().removesuffix("})();")
    exports = f"{code.partition(';')[2]}return ${module}; }})()"
    return page.run(f"const a = arguments; const m = {exports}; return {expression}", *arguments)


def test_three_statuses_of_a_finding(told: Page) -> None:
    """What is there comes first, then what may be, then what is not; signs and lines tell them apart."""
    chips = told.run(
        "return [...document.querySelectorAll('.mi-chip')].map((chip) => "
        "[chip.innerText, getComputedStyle(chip).borderTopStyle, chip.title])"
    )
    assert chips == [
        ["pleural effusion, right (larger)×2", "solid", "In PLEURA and IMPRESSION"],
        ["pneumonia?, left upper and mid", "dashed", "hedged: may represent\nIn LUNGS"],
        ["cardiomegaly?", "dashed", "hedged: Possible\nIn HEART"],
        ["right lung is clear: no consolidation, no nodule, no edema", "solid", "In LUNGS"],
        ["no pneumothorax", "solid", "In PLEURA"],
    ]
    lines = {
        word: told.run(
            "const w = [...document.querySelectorAll('.medinterp-word')].find((w) => w.innerText === arguments[0]);"
            "const s = getComputedStyle(w);"
            "return [s.textDecorationLine, s.textDecorationStyle, s.textDecorationThickness]",
            word,
        )
        for word in ("effusion", "pneumonia", "represent", "clear", "opacity")
    }
    assert lines["effusion"] == ["underline", "solid", "2px"]
    assert lines["pneumonia"] == ["underline", "dashed", "2px"]
    assert lines["represent"] == ["underline", "dashed", "1px"], "the hedge"
    assert lines["clear"] == ["underline", "solid", "1px"]
    assert isinstance(lines["opacity"], list)
    assert lines["opacity"][0] == "none"
    pneumonia = told.word(KINDS.findings[0].word_indices[0])
    assert str(pneumonia.get_attribute("title")).startswith("pneumonia?, left upper and mid\nhedged: may represent\n")
    told.driver.find_element("css selector", "[data-finding-index='0']").click()
    told.wait_overlay()
    assert told.text("subject") == "pneumonia?, left upper and mid"
    assert told.text("word") == "pneumonia?, left upper and mid in LUNGS, hedged: may represent"
    assert chosen(told) == ["pneumonia"]


def test_absences_of_one_statement_are_one_chip(told: Page, api: FakeApi) -> None:
    """It selects the statement's words; what is said of the selection names all of them."""
    chip = told.driver.find_element("css selector", f"[data-finding-index='{CLEAR}']")
    chip.click()
    told.wait_overlay()
    assert chosen(told) == ["right", "lung", "is", "clear"]
    assert chip.get_attribute("aria-pressed") == "true"
    assert told.text("subject") == "right lung is clear"
    assert told.text("word").startswith("right lung is clear: no consolidation, no nodule, no edema")


def test_how_a_finding_is_called(page: Page) -> None:
    """Acronyms keep their capitals; absences with places are kept apart; a hedge without words is told too."""
    finding = {"index": 0, "name": "nodule", "status": "absent", "side": "left", "zones": [], "start": 0, "end": 16,
               "word_indices": [0], "section": None, "hedge": None, "change": None}  # fmt: skip
    two = [finding, finding | {"index": 1, "name": "mass"}]
    assert imported(page, "findings", "m.findingTitle(a[0])", finding) == "no nodule, left"
    gone = finding | {"change": "resolved", "side": None}
    assert imported(page, "findings", "m.findingTitle(a[0])", gone) == "no nodule (resolved)"
    for text, title in (
        ("Left  lung\nclear.", "left lung clear: no nodule, no mass"),
        ("AP film is clear", "AP film is clear, left: no nodule, no mass"),
    ):
        report = {"text": text, "findings": two}
        assert imported(page, "findings", "m.statements(a[0]).map((one) => one.title)", report) == [title]
    unsure = {"text": "A nodule", "findings": [finding | {"status": "uncertain"}]}
    assert imported(page, "findings", "m.statements(a[0])[0].hedge", unsure) == "hedged"


def test_a_word_of_several_findings(page: Page, api: FakeApi, film: Path) -> None:
    """Present is shown before uncertain, and that before absent."""
    statuses = ("absent", "uncertain", "present")
    named = [("nodule", "nodule", {"status": status}) for status in statuses]
    masses = [("mass", "mass", {"status": status}) for status in statuses[:2]]
    api.report = written("LUNGS: A nodule or mass.", [*named, *masses])
    page.upload(film)
    page.read()
    classes = [str(page.word(index).get_attribute("class")).split()[1:] for index in (1, 3)]
    assert classes == [["mi-finding", "mi-present"], ["mi-finding", "mi-uncertain"]]


def test_what_is_only_named(told: Page, api: FakeApi) -> None:
    """Names that state nothing stand below the chips, and choose their words."""
    assert told.text("mentions") == "Also named: pneumothorax (history), nodule (advice)"
    named = told.driver.find_element("css selector", f"[data-mention-index='{MENTION}']")
    named.click()
    told.wait_overlay()
    (word,) = KINDS.mentions[MENTION].word_indices
    assert chosen_words(told) == [word]
    assert named.get_attribute("aria-pressed") == "true"
    assert told.text("word") == "“pneumothorax” in HISTORY"
    told.word(word + 1).click()
    assert named.get_attribute("aria-pressed") == "false"


def test_unread_sentences(told: Page) -> None:
    """Underlined with dots, and counted."""
    marked = told.run(
        "return [...document.querySelectorAll('#medinterp-report .mi-unread')].map((sentence) => "
        "[sentence.innerText, getComputedStyle(sentence).borderBottomStyle])"
    )
    assert marked == [[sentence, "dotted"] for sentence in UNREAD]
    assert told.text("sentences") == (
        "Dotted: not understood, no finding was taken from it. 6 sentences read, 3 not about findings, 2 unread."
    )
    told.run("document.querySelector('#medinterp-report .mi-unread .medinterp-word').click()")
    told.wait_overlay()
    assert chosen(told) == ["Vague"]


def test_nothing_is_said_where_all_was_read(page: Page, film: Path) -> None:
    """No dots, counts, names or thoughts; but that English alone is read."""
    page.upload(film)
    page.read()
    for name in ("sentences", "mentions"):
        assert not page.element(name).is_displayed()
    assert page.run("return document.querySelectorAll('.mi-unread, .mi-thinking').length") == 0
    open_ask(page)
    assert page.text("language") == "Findings are read from English reports only."


def test_thoughts_are_folded_away(told: Page) -> None:
    """Its words are nowhere but in the fold, its marks nowhere at all; they are not counted with the report's."""
    assert told.text("report").startswith(f"{SUMMARY}\nHISTORY")
    assert "look again" not in told.text("report")
    elsewhere = told.run(
        "const copy = document.getElementById('medinterp').cloneNode(true);"
        "copy.querySelector('#medinterp-thinking').remove(); return copy.textContent + copy.innerHTML"
    )
    assert "look again" not in str(elsewhere)
    assert "unused9" not in str(told.run("return document.getElementById('medinterp').innerHTML"))
    assert told.text("status") == f"Read: {len(KINDS.words) - HIDDEN} words."
    told.driver.find_element("css selector", "#medinterp-thinking summary").click()
    assert told.text("thinking") == f"{SUMMARY}\n{THOUGHT}"
    told.driver.find_element("css selector", "#medinterp-thinking .medinterp-word").click()
    told.wait_overlay()
    assert chosen(told) == ["The"]
    assert told.text("word") == "“The” in what the model thought"


def test_thoughts_by_keyboard(told: Page) -> None:
    """Folded, no key leads into them; open, Tab and the arrows do, and from there into the report."""
    told.run("document.querySelector('.mi-mention:last-of-type').focus()")
    press(told, Keys.TAB)
    assert told.run("return document.activeElement.innerText") == SUMMARY
    press(told, Keys.TAB)
    assert told.run("return document.activeElement.ariaLabel") == "Select the whole section HISTORY"
    press(told, Keys.TAB)
    assert focused(told) == HIDDEN
    for key in (Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.HOME):
        press(told, key)
        assert focused(told) == HIDDEN
        assert told.run(STOPS) == [str(HIDDEN)]
    press(told, Keys.END)
    assert focused(told) == len(KINDS.words) - 1
    told.run("document.querySelector('#medinterp-thinking summary').focus()")
    press(told, Keys.ENTER)
    told.wait("return document.querySelector('.medinterp-word[tabindex=\"0\"]').closest('details') !== null")
    press(told, Keys.TAB)
    first = focused(told)
    assert told.word(first).text == "The"
    press(told, Keys.ENTER)
    told.wait_overlay()
    press(told, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert KINDS.words[focused(told)].section == "HISTORY"
    press(told, Keys.HOME)
    assert focused(told) == first
    told.word(HIDDEN - 1).click()
    press(told, "]")
    assert chosen(told) == ["again", "Former"]
    assert told.text("word") == "“again. – HISTORY: Former” in what the model thought"
    told.wait("return document.getElementById('medinterp-subject').textContent === 'again. – HISTORY: Former'")
    told.run("document.querySelector('#medinterp-thinking summary').focus()")
    press(told, Keys.SPACE)
    told.wait(f"return document.querySelector('[data-word-index=\"{HIDDEN}\"]').tabIndex === 0")


def test_thoughts_are_muted_while_they_come(page: Page, api: FakeApi, film: Path) -> None:
    api.report, api.word_delay_s = KINDS, 0.1
    page.upload(film)
    page.element("read").click()
    page.wait("return document.querySelector('.mi-thought')?.innerText.includes('Perhaps')")
    assert page.text("status") == "Thinking before the report …"
    page.wait("return document.getElementById('medinterp-report').innerText.includes('HISTORY')")
    assert page.run("return document.querySelector('.mi-thought').innerText") == THOUGHT
    assert page.text("status") == "Writing the report …"
    assert "unused" not in page.text("report")
    page.element("stop").click()
    page.wait_state("chosen")
    assert page.run("return document.querySelector('.mi-thought').innerText") == THOUGHT


def test_wherever_the_stream_is_cut(page: Page) -> None:
    """No piece of a mark is ever shown, and no piece of the thought as if it was the report."""
    cuts = imported(page, "thinking", "Array.from(a[0], (_, at) => m.parted(a[0].slice(0, at + 1)))", ALL_KINDS[:140])
    assert isinstance(cuts, list)
    for parts in cuts:
        for part in parts:
            whole = THOUGHT if part["thought"] else ALL_KINDS.partition("<unused95>\n")[2]
            assert whole.startswith(part["text"]), part
    assert [part["thought"] for part in cuts[-1]] == [False, True, False]
    assert imported(page, "thinking", "m.parted('5 < 6 <unused94>thought')") == [
        {"text": "5 < 6 ", "thought": False},
        {"text": "", "thought": True},
    ]
    other = "<|channel>thought\nHm. <channel|>Yes. <unused94>So? <unused95>No."
    assert imported(page, "thinking", "m.spoken(a[0])", other) == "Yes. No."


def test_a_thought_without_a_report(page: Page, api: FakeApi, film: Path) -> None:
    """The token limit may come before the report does."""
    api.report = thought_only()
    page.upload(film)
    page.read()
    assert page.text("report") == f"{SUMMARY}\nThe model thought, and wrote no report."
    assert page.text("status") == "Read: 0 words."
    assert page.text("cut").startswith("Cut off after")
    assert page.logs()[0] == []


@pytest.mark.parametrize(("width", "height", "phone"), [(390, 844, True), (1280, 720, False), (1440, 900, False)])
def test_fits_the_screen(told: Page, width: int, height: int, phone: bool) -> None:
    """Nothing is wider than the screen; the report keeps room, and shows the words that a chip chooses."""
    told.resize(width, height, phone=phone)
    told.run("document.querySelector('#medinterp-thinking summary').click()")
    told.run(f"document.querySelector('[data-finding-index=\"{CLEAR}\"]').click()")
    told.wait_overlay()
    assert told.run("return document.documentElement.scrollWidth") == width
    if phone:
        return
    assert told.run("return document.documentElement.scrollHeight") == height
    assert told.element("report").size["height"] >= 110
    panel = "document.querySelector('.mi-report-panel')"
    assert told.run(f"return {panel}.scrollHeight <= {panel}.clientHeight"), "the column is what scrolls"
    last = KINDS.findings[-1]
    said_twice = f"document.querySelector('[data-finding-index=\"{LARGER}\"]').click()"
    told.run(said_twice)
    told.run(said_twice)
    assert chosen_words(told) == list(last.word_indices)
    word = told.word(last.word_indices[0])
    inside = "const [w, r] = arguments.length ? [...arguments].map((n) => n.getBoundingClientRect()) : [];"
    assert told.run(f"{inside} return w.top >= r.top - 1 && w.bottom <= r.bottom + 1", word, told.element("column"))
