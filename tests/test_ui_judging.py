""" "Is this map true?" on the page: asked, shown, stopped, remembered."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from medinterp.api.problems import Problem
from medinterp.evaluation.faithfulness import SENTENCES
from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    OCCLUSION,
    REPORT,
    api,
    choose_method,
    fake_films,
    film,
    open_drawer,
    page,
    take_example,
    wait_drawn,
    wait_for,
    wait_shown,
)

pytestmark = pytest.mark.filterwarnings("error")

GONE = Problem(type="urn:medinterp:problem:report-not-found", title="Not found.", status=404, detail="It has expired.")
TITLES = {
    "region": "The map beats chance",
    "picture": "The map does not beat chance",
    "text": "The film did not matter",
}
RELIANCE = {
    "region": [
        "With a blank film the word would be 35 times less likely: 2.8 % instead of 98 %.",
        "With four other films: from about as likely to 40 times less likely.",
    ],
    "picture": [
        "With a blank film the word would be 3.3 times less likely: 30 % instead of 98 %.",
        "With four other films: from 1.3 times more likely to 4.1 times less likely.",
    ],
    "text": [
        "With a blank film the word would be about as likely: 94 % instead of 98 %.",
        "With four other films: about as likely.",
    ],
}


def open_word(page: Page, film: Path, word: int = NODULE) -> None:
    """A report with a word's details."""
    page.upload(film)
    page.read()
    page.word(word).click()
    wait_drawn(page, "Raw attention")


def judge(page: Page) -> None:
    """Ask, and wait for the verdict."""
    page.element("judge").click()
    wait_shown(page, "verdict")


def chip(page: Page, index: int) -> None:
    """Choose a finding."""
    page.driver.find_element("css selector", f'#medinterp-findings [data-finding-index="{index}"]').click()


@pytest.mark.parametrize("verdict", ["region", "picture", "text"])
def test_verdict(page: Page, api: FakeApi, film: Path, verdict: str) -> None:
    """The sentence, what the film was worth in words, curves with a text, the table, what was replaced."""
    api.questions.verdict = verdict
    open_word(page, film)
    assert page.text("judge") == "Is this map true?"
    judge(page)
    assert api.questions.asked == [("faithfulness", {"words": f"{NODULE}-{NODULE}", "method": "raw"})]
    assert page.text("verdict").splitlines() == [TITLES[verdict], SENTENCES[verdict]]
    assert page.element("verdict").get_attribute("data-verdict") == verdict
    assert page.element("verdict").get_attribute("role") == "status"
    assert not page.element("judge").is_displayed()
    assert page.text("reliance").splitlines() == RELIANCE[verdict]
    rows = page.run("return [...document.querySelectorAll('#medinterp-scores tr')].map((row) => row.innerText)")
    assert isinstance(rows, list)
    assert rows[0].split("\t") == ["Order", "Deletion", "Insertion", "SRG"]
    assert [row.split("\t")[0].strip() for row in rows[1:]] == ["This map", "Random order", "Film's centre"]
    assert rows[1].count(" to ") == 3, "each number has its interval"
    dashes = page.run(
        "return [...document.querySelectorAll('#medinterp-curves polyline')]"
        ".map((line) => getComputedStyle(line).strokeDasharray)"
    )
    assert isinstance(dashes, list)
    assert len(dashes) == 6
    assert len(set(dashes)) == 3, "lines differ by more than their colour"
    told = str(page.run("return document.getElementById('medinterp-curves-text').textContent"))
    assert told.startswith("Deletion, most relevant cells replaced first: This map from 98 % to ")
    assert "after 13 % of the cells" in told
    assert "Insertion, most relevant cells shown first: This map from " in told
    assert "replaced by the same cells of a blank film and of four drawn films" in page.text("replaced")
    assert page.state == "read"
    console, requests = page.logs()
    assert console == []
    assert foreign_requests(requests) == []


def test_marks_have_shapes_of_their_own(page: Page, api: FakeApi, film: Path) -> None:
    """A tick, a tilde and a dash: nobody needs to tell colours apart."""
    open_word(page, film)
    shapes = set()
    for verdict, word in (("region", NODULE), ("picture", NODULE + 1), ("text", HEARTS)):
        api.questions.verdict = verdict
        page.word(word).click()
        wait_shown(page, "judge")
        judge(page)
        shapes.add(page.run("return document.querySelector('.mi-verdict-mark path').getAttribute('d')"))
    assert len(shapes) == 3


def test_phrase_and_finding(page: Page, api: FakeApi, film: Path) -> None:
    """What is asked is what is selected."""
    open_word(page, film, NODULE - 1)
    ActionChains(page.driver).key_down(Keys.SHIFT).click(page.word(NODULE + 2)).key_up(Keys.SHIFT).perform()
    judge(page)
    assert "the words together would be" in page.text("reliance")
    chip(page, 3)
    wait_shown(page, "judge")
    judge(page)
    assert [body for _, body in api.questions.asked] == [
        {"words": f"{NODULE - 1}-{NODULE + 2}", "method": "raw"},
        {"finding": 3, "method": "raw"},
    ]


def test_progress_and_stop(page: Page, api: FakeApi, film: Path) -> None:
    """It says how far it is; Stop ends it on the server, and it can be asked again."""
    open_word(page, film)
    api.questions.hold_at = 3
    page.element("judge").click()
    page.wait("return document.getElementById('medinterp-judging-bar').value === 118")
    assert page.text("judging-text") == "Judging this map: 118 of 315 altered films"
    assert not page.element("judge").is_displayed()
    page.element("judging-stop").click()
    wait_shown(page, "judge")
    assert not page.element("judging").is_displayed()
    assert page.run("return document.activeElement.id") == "medinterp-judge"
    wait_for(lambda: api.questions.stopped == 1)
    api.questions.hold_at = None
    judge(page)
    assert not page.element("error").is_displayed()


def test_by_keyboard(page: Page, api: FakeApi, film: Path) -> None:
    """Enter asks; the focus goes to Stop while it runs, and to the verdict when it is there."""
    open_word(page, film)
    api.questions.hold_at = 1
    page.element("judge").send_keys(Keys.ENTER)
    page.wait("return document.activeElement.id === 'medinterp-judging-stop'")
    api.questions.hold_at = None
    page.wait("return document.activeElement.id === 'medinterp-verdict'")


@pytest.mark.parametrize("how", ["word", "finding", "nothing", "method", "film"])
def test_another_choice_ends_it(page: Page, api: FakeApi, film: Path, how: str) -> None:
    """A judgement that runs belongs to what was selected: a changed selection or method ends it."""
    open_word(page, film)
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)
    api.questions.hold_at = 2
    page.element("judge").click()
    page.wait("return document.getElementById('medinterp-judging-bar').value > 0")
    if how == "word":
        page.word(HEARTS).click()
    elif how == "finding":
        chip(page, 1)
    elif how == "nothing":
        page.word(NODULE).send_keys(Keys.ESCAPE)
    elif how == "method":
        choose_method(page, "raw")
    else:
        take_example(page, 1)
    wait_for(lambda: api.questions.stopped == 1)
    assert not page.element("judging").is_displayed()
    if how in ("word", "finding", "method"):
        wait_shown(page, "judge")
    assert not page.element("error").is_displayed()
    api.questions.hold_at = None
    if how in ("nothing", "film"):
        return
    judge(page)
    assert api.questions.asked[-1][1]["method"] == ("raw" if how == "method" else "occlusion")


def test_it_is_remembered_while_the_report_is_there(page: Page, api: FakeApi, film: Path) -> None:
    """Going back shows it again without asking; another selection or method has none; it vanishes with the report."""
    open_word(page, film)
    judge(page)
    api.questions.verdict = "text"
    page.word(HEARTS).click()
    wait_shown(page, "judge")
    assert not page.element("verdict").is_displayed()
    judge(page)
    assert TITLES["text"] in page.text("verdict")
    page.word(NODULE).click()
    wait_shown(page, "verdict")
    assert TITLES["region"] in page.text("verdict")
    assert len(api.questions.asked) == 2

    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)
    wait_shown(page, "judge")
    assert not page.element("judgement").is_displayed()
    choose_method(page, "raw")
    wait_shown(page, "verdict")
    assert [what for what, _ in api.questions.asked].count("faithfulness") == 2

    page.read()
    page.word(NODULE).click()
    wait_shown(page, "judge")
    assert not page.element("verdict").is_displayed(), "it was another report's"


@pytest.mark.parametrize("midway", [False, True])
def test_failure(page: Page, api: FakeApi, film: Path, midway: bool) -> None:
    """The problem is said; the question can be asked again."""
    open_word(page, film)
    setattr(api.questions, "break_with" if midway else "refuse", GONE)
    page.element("judge").click()
    wait_shown(page, "error")
    assert page.text("error").startswith("Not found.\nIt has expired.")
    assert page.element("judge").is_displayed()
    assert not page.element("verdict").is_displayed()
    assert page.text("drawn-method") == "Raw attention"
    api.questions.refuse = api.questions.break_with = None
    judge(page)


def test_sinks_that_the_picture_leaves_out(page: Page, api: FakeApi, film: Path) -> None:
    """The judged map has its sink cells: it is said when the picture has not."""
    api.sinks = True
    open_word(page, film)
    judge(page)
    assert "sink cells" not in page.text("judgement")
    page.wait("return !document.getElementById('medinterp-sinks-label').hidden")
    page.element("sinks").click()
    page.wait("return document.getElementById('medinterp-judgement').textContent.includes('with its sink cells')")


def test_nothing_is_left_behind(page: Page, api: FakeApi, film: Path) -> None:
    """Neither words nor verdicts are in the address or in the browser's storage."""
    before = str(page.run("return location.href"))
    open_word(page, film)
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)
    judge(page)
    address = str(page.run("return location.href"))
    assert address.startswith(f"{before}#report=")
    assert "nodule" not in address and "verdict" not in address
    kept = str(page.run("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"))
    for secret in ("verdict", "region", "nodule", "occlusion"):
        assert secret not in kept
    assert page.run("return indexedDB.databases().then((all) => all.length)") == 0
    assert page.run("return caches.keys().then((all) => all.length)") == 0


def test_the_word_stays_in_sight(page: Page, film: Path) -> None:
    """The judgement takes room from the report, and the chosen word is still to be seen in it."""
    page.upload(film)
    page.read()
    page.word(len(REPORT.words) - 1).click()
    wait_drawn(page, "Raw attention")
    judge(page)
    page.wait(
        "const host = document.getElementById('medinterp-column').getBoundingClientRect();"
        "const word = document.querySelector('.medinterp-word[aria-pressed=true]').getBoundingClientRect();"
        "return word.top >= host.top && word.bottom <= host.bottom"
    )


@pytest.mark.parametrize(("width", "height", "phone"), [(390, 844, True), (800, 900, False), (1280, 800, False)])
def test_fits_the_screen(page: Page, film: Path, width: int, height: int, phone: bool) -> None:
    """The judgement is not wider than its column, at any width."""
    page.resize(width, height, phone=phone)
    page.upload(film)
    page.read()
    page.run("arguments[0].click()", page.word(NODULE))
    wait_drawn(page, "Raw attention")
    open_drawer(page)
    page.run("document.getElementById('medinterp-judge').click()")
    wait_shown(page, "verdict")
    assert page.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    details = page.run("const d = document.getElementById('medinterp-details'); return [d.scrollWidth, d.clientWidth]")
    assert isinstance(details, list)
    assert details[0] <= details[1]
