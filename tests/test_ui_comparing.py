"""The page's comparison: a question in other words, the whole report, changed films; asked, shown, stopped."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from medinterp.imaging.perturb import PERTURBATIONS
from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    NODULE,
    api,
    choose_method,
    fake_films,
    film,
    page,
    take_example,
    wait_drawn,
    wait_for,
    wait_shown,
)
from tests.test_ui_judging import GONE

pytestmark = pytest.mark.filterwarnings("error")

QUESTIONS = ["Is there a pleural effusion?", "Does the film show a pleural effusion?", "Is pleural fluid visible?"]
ALL = list(PERTURBATIONS)


def open_tab(page: Page, film: Path) -> None:
    """A report, and the comparison beside it."""
    page.upload(film)
    page.read()
    page.element("tab-compare").click()


def pick(page: Page, value: str) -> None:
    """Change the check of a film or a map."""
    page.run(f"document.querySelector('#medinterp-compare-form input[value={value}]').click()")


def compare(page: Page) -> None:
    """Ask, and wait for what comes of it."""
    page.run("document.getElementById('medinterp-comparison').replaceChildren()")
    page.run("document.getElementById('medinterp-compare-run').click()")
    wait_shown(page, "compared")


def rows(page: Page) -> list[list[str]]:
    """The cells of each row of the table, lines joined by a space."""
    script = """
        const cells = (row) => [...row.cells].map((cell) => cell.innerText.trim().replaceAll(/\\s+/g, " "));
        return [...document.querySelectorAll("#medinterp-variants tr")].map(cells);
    """
    found = page.run(script)
    assert isinstance(found, list)
    return found


def checked(page: Page, group: str) -> object:
    return page.run(
        f"return [...document.querySelectorAll('input[name=medinterp-{group}]:checked')].map((box) => box.value)"
    )


def test_a_question_is_compared(page: Page, api: FakeApi, film: Path) -> None:
    """What is written and checked is asked; a row a variant says what became of answer, margin and maps."""
    open_tab(page, film)
    assert page.text("compare-hint") == "Asks the model 8 times."
    assert checked(page, "compared-map") == ["raw"]
    pick(page, "occlusion")
    assert page.text("compare-hint") == "Asks the model 8 times. Maps marked * ask it again for each: slow."
    compare(page)
    body = {"questions": tuple(QUESTIONS), "methods": ("raw", "occlusion"), "perturbations": tuple(ALL)}
    assert api.questions.asked == [("sensitivity", body)]
    assert page.text("compared").splitlines() == [
        "The answer does not always hold: “Yes.”",
        "The same answer to 1 of 2 paraphrases (consistency 50 %), and on 4 of 5 changed films.",
    ]
    assert page.element("compared").get_attribute("data-verdict") == "picture"
    assert page.element("compared").get_attribute("role") == "status"
    head, question, reworded, *variants = rows(page)
    assert head == ["", "Answer", "", "Margin, nats", "Raw attention, bits", "Occlusion, bits"]
    assert question == [
        f"“{QUESTIONS[0]}” the question, on the film as it is", "Yes.", "", "8.89 “Yes” over “No”", "", "",
    ]  # fmt: skip
    assert reworded == ["In other words"]
    none = "– no map to compare"
    assert variants[:2] == [
        [f"“{QUESTIONS[1]}”", "Yes.", "= same", "0.46 change −8.43 “Yes” over “No”", "0.009", none],
        [f"“{QUESTIONS[2]}”", "No.", "≠ changed", "−7.44 change −16.33 “No” over “Yes”", "0.063 *", none],
    ]
    assert variants[2] == ["On changed films"]
    films = {row[0].split()[0]: row for row in variants[3:]}
    assert list(films) == ["Noise", "Contrast", "Five", "Flip", "Crop"]
    assert films["Contrast"][1:] == ["No.", "≠ changed", "−2.40 change −11.29 “No” over “Yes”", "0.420 *", none]
    assert films["Crop"][4] == "0.420 91 % of it left"
    bars = page.run(
        "return [...document.querySelectorAll('.mi-shift')].map((bar) =>"
        " parseFloat(getComputedStyle(bar, '::before').width) / bar.getBoundingClientRect().width)"
    )
    assert isinstance(bars, list)
    assert bars[1] == pytest.approx(0.063, abs=0.01)
    assert bars[2] == pytest.approx(0.42, abs=0.01)
    key = "return [...document.querySelectorAll('#medinterp-comparison-key dt')].map((term) => term.innerText)"
    assert page.run(key) == ["Same", "Consistency", "Margin", "Map", "*", "Left", "Flip"]
    console, requests = page.logs()
    assert console == []
    assert foreign_requests(requests) == []


def test_what_holds_is_said_to_hold(page: Page, api: FakeApi, film: Path) -> None:
    """Without the variants that change the answer; numbers that are not there are not explained."""
    open_tab(page, film)
    page.run(f"document.getElementById('medinterp-paraphrases').value = ' \\n{QUESTIONS[1]}\\n\\n'")
    pick(page, "contrast")
    pick(page, "raw")
    compare(page)
    body = {"questions": tuple(QUESTIONS[:2]), "methods": (), "perturbations": tuple(n for n in ALL if n != "contrast")}
    assert api.questions.asked == [("sensitivity", body)]
    assert page.text("compared").splitlines() == [
        "The answer holds: “Yes.”",
        "The same answer to 1 of 1 paraphrase (consistency 100 %), and on 4 of 4 changed films.",
    ]
    assert page.element("compared").get_attribute("data-verdict") == "region"
    assert rows(page)[0] == ["", "Answer", "", "Margin, nats"]
    assert "Jensen" not in page.text("comparison-key")


def test_the_whole_report_is_compared(page: Page, api: FakeApi, film: Path) -> None:
    """Film by film and finding by finding, with the report of each to be opened."""
    open_tab(page, film)
    page.run("document.getElementById('medinterp-compared-report').click()")
    assert not page.element("compare-questions").is_displayed()
    assert page.text("compare-hint") == "Has the model write 6 reports."
    compare(page)
    assert api.questions.asked[-1][1] == {"questions": (), "methods": ("raw",), "perturbations": tuple(ALL)}
    assert page.text("compared").splitlines() == [
        "The findings do not always hold",
        "The same findings, as certain, on the same side and in the same zones, on 4 of 5 changed films.",
    ]
    found = rows(page)
    assert found[0] == ["Finding", "On the film", "On the changed film", "", "log p, nats", "Raw attention, bits"]
    assert found[1] == ["Noise Gaussian noise, sigma 0.05 of the full range no finding in either report"]
    start = next(at for at, row in enumerate(found) if row[0].startswith("Contrast"))
    assert found[start][0].endswith("1 same, 1 moved, 1 hedged, 1 gone, 1 new")
    assert found[start + 1 : start + 6] == [
        ["pleural effusion", "left", "–", "− gone", "−6.30", "–"],
        ["nodule", "left upper", "left mid", "↔ moved", "−1.70", "0.310 *"],
        ["atelectasis", "left lower", "uncertain, left lower", "? hedged", "−2.40", "0.150 *"],
        ["cardiomegaly", "–", "present", "+ new", "–", "–"],
        ["tube", "high", "high", "= same", "0.00", "0.002"],
    ]
    page.run("document.querySelectorAll('.mi-its-report summary')[1].click()")
    opened = page.run("return document.querySelector('.mi-its-report details[open] p').innerText")
    assert opened == "PLEURA: As contrast shows it."


def test_what_is_missing_is_said(page: Page, api: FakeApi, film: Path) -> None:
    """The button waits for a report, a question, and for the whole report a changed film."""
    page.element("tab-compare").click()
    assert page.text("compare-hint").startswith("Read a film first")
    assert not page.element("compare-run").is_enabled()
    open_tab(page, film)
    question = page.element("question")
    question.clear()
    question.send_keys(" ")
    assert page.text("compare-hint") == "Write a question."
    question.send_keys(Keys.ENTER)
    page.run("document.getElementById('medinterp-compared-report').click()")
    for name in ALL:
        assert page.element("compare-run").is_enabled()
        pick(page, name)
    assert page.text("compare-hint") == "Choose a changed film to compare the report with."
    assert not page.element("compare-run").is_enabled()
    assert api.questions.asked == []


def test_progress_and_stop_by_keyboard(page: Page, api: FakeApi, film: Path) -> None:
    """Enter in the question asks; Stop has the focus, ends it on the server, and it can be asked again."""
    open_tab(page, film)
    api.questions.hold_at = 3
    page.element("question").send_keys(Keys.ENTER)
    page.wait("return document.getElementById('medinterp-comparing-bar').value === 3")
    assert page.text("comparing-text") == "Comparing: 3 of 8 answers"
    assert not page.element("compare-run").is_enabled()
    page.wait("return document.activeElement.id === 'medinterp-comparing-stop'")
    page.element("comparing-stop").send_keys(Keys.ENTER)
    page.wait("return document.activeElement.id === 'medinterp-compare-run'")
    wait_for(lambda: api.questions.stopped == 1)
    assert not page.element("comparing").is_displayed()
    api.questions.hold_at = None
    page.element("compare-run").send_keys(Keys.ENTER)
    page.wait("return document.activeElement.id === 'medinterp-compared'")
    assert not page.element("error").is_displayed()


def test_views_change_by_arrow_keys_and_by_a_word(page: Page, film: Path) -> None:
    """One view is shown and can be tabbed to; a word that is chosen shows its map."""
    page.upload(film)
    page.read()
    assert page.element("stage").is_displayed()
    page.element("tab-map").send_keys(Keys.ARROW_RIGHT)
    assert page.run("return document.activeElement.id") == "medinterp-tab-compare"
    assert page.element("compare").is_displayed()
    assert not page.element("stage").is_displayed()
    states = "return ['map', 'compare'].map((name) => document.getElementById(`medinterp-tab-${name}`)).map((tab) => "
    assert page.run(f"{states} [tab.ariaSelected, tab.tabIndex])") == [["false", -1], ["true", 0]]
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    assert page.element("stage").is_displayed()
    assert not page.element("compare").is_displayed()
    page.element("tab-compare").click()
    take_example(page, 1)
    page.wait_state("chosen")
    assert page.element("stage").is_displayed(), "a new film is to be seen"


def test_the_map_on_the_film_is_the_one_that_is_compared(page: Page, film: Path) -> None:
    """Until the reader picks: then the choice stays."""
    open_tab(page, film)
    page.element("tab-map").click()
    choose_method(page, "occlusion")
    page.wait("return document.getElementById('medinterp-method-note').checkVisibility()")
    page.element("tab-compare").click()
    assert checked(page, "compared-map") == ["occlusion"]
    pick(page, "raw")
    page.element("tab-map").click()
    choose_method(page, "raw")
    page.element("tab-compare").click()
    assert checked(page, "compared-map") == ["raw", "occlusion"]


@pytest.mark.parametrize("how", ["film", "read", "forget"])
def test_it_goes_with_the_report(page: Page, api: FakeApi, film: Path, how: str) -> None:
    """What came of it vanishes with the report, and what is being asked is asked no more."""
    open_tab(page, film)
    compare(page)
    api.questions.hold_at = 2
    page.run("document.getElementById('medinterp-compare-run').click()")
    page.wait("return document.getElementById('medinterp-comparing-bar').value > 0")
    if how == "film":
        take_example(page, 1)
    else:
        page.element(how).click()
    wait_for(lambda: api.questions.stopped == 1)
    page.wait("return document.getElementById('medinterp-comparison').childElementCount === 0")
    assert not page.element("comparing").is_displayed()
    assert not page.element("error").is_displayed()


@pytest.mark.parametrize("midway", [False, True])
def test_failure(page: Page, api: FakeApi, film: Path, midway: bool) -> None:
    """The problem is said; the comparison can be asked for again."""
    open_tab(page, film)
    setattr(api.questions, "break_with" if midway else "refuse", GONE)
    page.element("compare-run").click()
    wait_shown(page, "error")
    assert page.text("error").startswith("Not found.\nIt has expired.")
    assert page.run("return document.getElementById('medinterp-comparison').childElementCount") == 0
    page.wait("return !document.getElementById('medinterp-compare-run').disabled")
    api.questions.refuse = api.questions.break_with = None
    compare(page)


def test_model_text_is_text(page: Page, film: Path) -> None:
    """Markup in a question stays letters."""
    open_tab(page, film)
    question = page.element("question")
    question.clear()
    question.send_keys("<img src=x onerror=alert(1)>?")
    compare(page)
    assert rows(page)[1][0].startswith("“<img src=x onerror=alert(1)>?”")
    assert page.run("return document.querySelectorAll('#medinterp-comparison img').length") == 0


def test_nothing_is_left_behind(page: Page, film: Path) -> None:
    """Neither questions nor answers are in the address or in the browser's storage."""
    before = str(page.run("return location.href"))
    open_tab(page, film)
    compare(page)
    address = str(page.run("return location.href"))
    assert address.startswith(f"{before}#report=")
    assert "effusion" not in address
    kept = str(page.run("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"))
    assert "effusion" not in kept


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("width", "height", "phone"), [(390, 844, True), (800, 900, False), (1280, 800, False)])
def test_fits_the_screen(page: Page, film: Path, width: int, height: int, phone: bool, whole: bool) -> None:
    """Nothing is wider than the window; on a phone a variant's numbers stand under each other with their names."""
    page.resize(width, height, phone=phone)
    page.upload(film)
    page.read()
    page.run("document.getElementById('medinterp-tab-compare').click()")
    pick(page, "occlusion")
    if whole:
        page.run("document.getElementById('medinterp-compared-report').click()")
    compare(page)
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    panel = page.run("const p = document.getElementById('medinterp-compare'); return [p.scrollWidth, p.clientWidth]")
    assert isinstance(panel, list)
    assert panel[0] <= panel[1]
    assert page.element("report").is_displayed() == (width > 1080)
    name = page.run(
        "return getComputedStyle(document.querySelector('#medinterp-variants td[data-label]'), '::before').content"
    )
    assert (name == ('"On the film"' if whole else '"Answer"')) == phone
    if width > 1080:
        assert page.run("return document.documentElement.scrollHeight - document.documentElement.clientHeight") == 0
