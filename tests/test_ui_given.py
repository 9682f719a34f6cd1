"""A report that somebody else wrote, explained on the page: its box, what is said of it, its unlikely words."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.api.problems import problem_of
from medinterp.api.schema import ProgressModel
from medinterp.errors import ReportTextError
from medinterp.types import FilmWarning, WindowChoice
from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - fixtures
from tests.page_api import MAX_REPORT_CHARACTERS, FakeApi
from tests.page_fixtures import api, fake_films, film, film_png, open_ask, page, take_example, wait_film, wait_for  # noqa: F401 - fixtures
from tests.page_reports import TEXT, every_kind_given

pytestmark = pytest.mark.filterwarnings("error")

MINE = "LUNGS \U0001fac1: A <i>mass</i>.\n\nHEART: Normal."
GIVEN = every_kind_given()
SPOKEN = [word for word in GIVEN.words if word.section]
RARE = [word for word in SPOKEN if word.unlikely]
OPEN = "document.getElementById('medinterp-given').open"
WINDOWS = (WindowChoice("window-1", "center 2048, width 4096"), WindowChoice("full", "no window"))


def posts(api: FakeApi) -> list[dict[str, str]]:
    """The forms that were sent."""
    return [form for verb, _, form in api.requests if verb == "POST"]


def fill(page: Page, text: str) -> None:
    """Paste a report into the box."""
    open_ask(page)
    page.run(f"{OPEN} = true")
    script = "const [box, text] = arguments; box.focus(); document.execCommand('insertText', false, text)"
    page.run(script, page.element("given-text"), text)


def held(page: Page) -> object:
    return page.element("given-text").get_property("value")


def explain(page: Page, film: Path, text: str) -> None:
    """Have it explained on a film."""
    page.upload(film)
    fill(page, text)
    page.run("document.getElementById('medinterp-read').scrollIntoView()")
    page.read()


def give(page: Page, kind: str, target: str, content: bytes, name: str, mime: str, text: str = "") -> object:
    """Drop or paste a file on an element, with text beside it; whether the page leaves it to the browser."""
    script = """
        const [kind, target, hex, name, type, text] = arguments;
        const bytes = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type }));
        if (text) transfer.setData("text/plain", text);
        const options = { bubbles: true, cancelable: true };
        return document.getElementById(`medinterp-${target}`).dispatchEvent(kind === "paste"
          ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
          : new DragEvent(kind, { ...options, dataTransfer: transfer }));
    """
    return page.run(script, kind, target, content.hex(), name, mime, text)


def wait_error(page: Page) -> list[str]:
    """Wait for a problem; its lines."""
    page.wait("return !document.getElementById('medinterp-error').hidden")
    return page.text("error").splitlines()


def press(page: Page, *keys: str) -> None:
    ActionChains(page.driver).send_keys(*keys).perform()


def test_the_box_is_folded_and_works_by_keyboard(page: Page, api: FakeApi, film: Path) -> None:
    """While it holds text, the button says what it does, and the token limit is out of use."""
    assert page.run(f"return {OPEN}") is False
    assert page.text("given") == "Explain a report that you have"
    page.upload(film)
    page.run("document.querySelector('#medinterp-given summary').focus()")
    press(page, Keys.ENTER)
    page.wait(f"return {OPEN}")
    press(page, Keys.TAB)
    assert page.run("return document.activeElement.id") == "medinterp-given-text"
    press(page, "  ")
    assert page.text("read") == "Read film", "white space is no report"
    assert page.element("max-tokens").is_enabled()
    press(page, "om")
    assert page.text("read") == "Explain this report"
    assert page.text("given-count") == "4 characters"
    assert not page.element("max-tokens").is_enabled()
    assert page.element("max-tokens-label").get_attribute("title") == "Out of use: nothing is written"
    press(page, Keys.TAB, Keys.ENTER)
    assert held(page) == ""
    assert page.run("return document.activeElement.id") == "medinterp-given-text"
    assert not page.element("given-clear").is_displayed()
    assert page.text("read") == "Read film"
    page.read()
    assert "report" not in posts(api)[0]
    assert posts(api)[0]["max_new_tokens"] == "300"


def test_a_report_is_explained(page: Page, api: FakeApi, film: Path) -> None:
    """It is sent as it stands, with the service's prompt and without a token limit, and said to be given."""
    page.upload(film)
    assert not page.element("given-note").is_displayed()
    fill(page, MINE)
    page.read()
    (form,) = posts(api)
    assert form["report"] == MINE
    assert set(form) == {"methods", "report"}
    shown = page.run("return [...document.querySelectorAll('.medinterp-word')].map((word) => word.textContent)")
    assert shown == ["A", "i", "mass", "i", "Normal"]
    assert page.text("status") == "Explained: 5 words; none of them unlikely."
    assert page.text("given-note") == "Given, not written by the model."
    assert not page.element("unlikely").is_displayed()
    page.word(2).click()
    page.wait_overlay()
    assert page.text("word") == "“mass” in LUNGS"
    assert held(page) == MINE, "it can be changed and explained again"
    page.run("document.getElementById('medinterp-given-clear').click()")
    page.read()
    assert not page.element("given-note").is_displayed(), "this one was written"
    assert page.text("status").startswith("Read: ")
    console, requests = page.logs()
    assert console == []
    assert foreign_requests(requests) == []


def test_unlikely_words_are_told_from_all_others(page: Page, api: FakeApi, film: Path) -> None:
    """A wave of their own, below the line of a finding, a hedge or an unread sentence, which stays what it is."""
    api.report = GIVEN
    explain(page, film, GIVEN.text)
    assert page.text("status") == f"Explained: {len(SPOKEN)} words; {len(RARE)} of them the model would hardly write."
    assert page.text("unlikely") == "Wavy: the model gave this word less than 1 in 1,000."
    marked = page.run(
        "return [...document.querySelectorAll('#medinterp-report .mi-unlikely')].map((mark) => ["
        "mark.innerText, getComputedStyle(mark).textDecorationStyle,"
        "parseFloat(getComputedStyle(mark).textUnderlineOffset),"
        "mark.parentElement.className.replace('medinterp-word', '').trim(), mark.closest('.mi-unread') !== null])"
    )
    assert marked == [
        ["left", "wavy", 6, "", False],
        ["represent", "wavy", 6, "mi-hedge", False],
        ["pneumonia", "wavy", 6, "mi-finding mi-uncertain", False],
        ["lung", "wavy", 6, "mi-finding mi-absent", False],
        ["lines", "wavy", 6, "", True],
        ["larger", "wavy", 6, "", False],
        ["pneumothorax", "wavy", 6, "mi-finding mi-absent", False],
        ["cardiomegaly", "wavy", 6, "mi-finding mi-uncertain", False],
    ]
    assert [text for text, *_ in marked] == [word.text for word in RARE]
    own = page.run(
        "return [...document.querySelectorAll('.medinterp-word:not(.mi-finding, .mi-hedge)')].every((word) =>"
        " getComputedStyle(word).textDecorationLine === 'none')"
    )
    assert own is True
    represent, pneumonia = RARE[1:3]
    assert page.word(pneumonia.index).value_of_css_property("text-decoration-style") == "dashed"
    title = str(page.word(pneumonia.index).get_attribute("title")).splitlines()
    assert title[:2] == ["pneumonia?, left upper and mid", "hedged: may represent"]
    assert title[2] == "Unlikely: the model gave this word less than 1 in 1,000"
    page.word(pneumonia.index).click()
    page.wait_overlay()
    facts = "return [...document.querySelectorAll('#medinterp-details :is(dt, dd)')].map((node) => node.innerText)"
    found = page.run(facts)
    assert isinstance(found, list)
    told = dict(zip(found[::2], found[1::2], strict=True))
    assert told["Probability of the word"] == "< 0.1 %"
    assert told["Unlikely"] == "less than 1 in 1,000"
    page.word(represent.index - 1).click()
    assert "Unlikely" not in str(page.run(facts))
    ActionChains(page.driver).key_down(Keys.SHIFT).click(page.word(pneumonia.index)).key_up(Keys.SHIFT).perform()
    found = page.run(facts)
    assert isinstance(found, list)
    told = dict(zip(found[::2], found[1::2], strict=True))
    assert told["Unlikely"] == "“represent”, “pneumonia”: less than 1 in 1,000"


def test_what_is_said_to_a_screen_reader(page: Page, api: FakeApi, film: Path) -> None:
    api.report = GIVEN
    explain(page, film, GIVEN.text)
    open_ask(page)
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
    said = {}
    for node in tree["nodes"]:
        if not node.get("ignored"):
            role, name = (node.get(part, {}).get("value", "") for part in ("role", "name"))
            said[role, name] = str(node.get("description", {}).get("value", ""))
    box = said["textbox", "Explain a report that you have"]
    assert box.startswith("Paste it, or drop a .txt file. The model then writes nothing")
    assert box.endswith(f"{len(GIVEN.text)} characters")
    assert said["button", "larger"].startswith("Unlikely: the model gave this word less than 1 in 1,000")
    assert "Unlikely" not in said["button", "Vague"]
    assert ("note", "") in said
    assert ("StaticText", "Given, not written by the model.") in said


def test_a_refusal_is_shown_with_its_reason(page: Page, api: FakeApi, film: Path) -> None:
    """Film, prompt and text stay; too long a text is said to be so before it is sent."""
    api.refuse = problem_of(ReportTextError("the given report holds the model's control tokens: <bos>"))
    page.upload(film)
    fill(page, MINE)
    page.element("read").click()
    assert wait_error(page)[:2] == [api.refuse.title, api.refuse.detail]
    assert page.state == "chosen"
    assert held(page) == MINE
    assert not page.element("given-note").is_displayed()
    api.refuse = None
    page.read()
    assert not page.element("error").is_displayed()

    fill(page, "x" * MAX_REPORT_CHARACTERS)
    count = MAX_REPORT_CHARACTERS + len(MINE)
    assert page.text("given-count") == f"{count:,} characters: at most {MAX_REPORT_CHARACTERS:,} are taken"
    page.element("read").click()
    assert f"the given report has {count} characters" in wait_error(page)
    assert page.state == "read", "the report that was there comes back"
    assert page.text("given-note") == "Given, not written by the model."


def test_a_film_that_says_nothing(page: Page, api: FakeApi, film: Path) -> None:
    """What is withheld there is an explanation; it can be had all the same."""
    api.warnings = (FilmWarning("inverted", "The film is inverted.", withholds=True),)
    page.upload(film)
    fill(page, MINE)
    page.element("read").click()
    assert wait_error(page)[0] == "The report was not explained: what the model makes of this film means nothing."
    assert page.text("force") == "Explain it all the same"
    page.element("force").click()
    page.wait_state("read")
    assert [(form["report"], form.get("force")) for form in posts(api)] == [(MINE, None), (MINE, "true")]
    assert page.text("warnings").startswith("Explained all the same: what the model makes of this film means nothing")


def test_another_window(page: Page, api: FakeApi, film: Path) -> None:
    """The film is read again, and the same report explained again."""
    api.windows = WINDOWS
    explain(page, film, MINE)
    assert page.text("window-note").endswith("the report is explained again.")
    Select(page.element("window")).select_by_value("full")
    wait_for(lambda: len(posts(api)) == 2)
    page.wait_state("read")
    assert [(form["report"], form.get("window")) for form in posts(api)] == [(MINE, None), (MINE, "full")]


def test_it_is_forgotten_with_the_report(page: Page, api: FakeApi, film: Path) -> None:
    explain(page, film, MINE)
    page.element("forget").click()
    page.wait_state("chosen")
    assert held(page) == ""
    assert page.text("read") == "Read film"
    assert not page.element("given-note").is_displayed()
    assert "mass" not in str(page.run("return document.getElementById('medinterp').innerHTML"))
    assert api.films == {}


def test_it_goes_with_its_film(page: Page, film: Path) -> None:
    """What was explained on one film must not stand beside another; what is new there stays."""
    fill(page, MINE)
    page.upload(film)
    assert held(page) == MINE, "given before its film"
    page.read()
    take_example(page, 2)
    page.wait_state("chosen")
    assert held(page) == ""
    assert page.text("status") == "The report that was given went with its film."
    fill(page, MINE)
    page.read()
    fill(page, " More.")
    take_example(page, 3)
    page.wait_state("chosen")
    assert str(held(page)).endswith(" More.")
    assert page.text("status") == ""


def test_nothing_is_left_behind(page: Page, film: Path) -> None:
    before = str(page.run("return location.href"))
    explain(page, film, MINE)
    kept = str(page.run("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"))
    assert "mass" not in kept
    address = str(page.run("return location.href"))
    assert address.startswith(f"{before}#report=")
    assert "mass" not in address
    page.driver.refresh()
    page.wait_state("read")
    assert held(page) == "", "the link brings the report back, the box is the reader's own"


@pytest.mark.parametrize("target", ["given", "stage"])
def test_a_text_file_is_dropped(page: Page, film: Path, target: str) -> None:
    """Wherever on the page, it goes into the open box in place of what was there, and is no film."""
    page.upload(film)
    fill(page, "old")
    page.run(f"{OPEN} = false")
    give(page, "dragover", target, b"", "mine.txt", "text/plain")
    assert "mi-over" in str(page.element("given").get_attribute("class"))
    give(page, "drop", target, b"\xef\xbb\xbf" + MINE.replace("\n", "\r\n").encode(), "mine.txt", "text/plain")
    page.wait(f"return {OPEN}")
    assert held(page) == MINE
    assert "mi-over" not in str(page.element("given").get_attribute("class"))
    assert page.text("read") == "Explain this report"
    assert page.run("return document.activeElement.id") == "medinterp-given-text"
    assert "mine.txt" not in page.text("chosen")
    assert page.state == "chosen"


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("größer".encode("latin-1"), "This file is not plain text."),
        ("A mass".encode("utf-16-be"), "This file is not plain text."),
        (film_png(), "This file is not plain text."),
        (b"x" * (MAX_REPORT_CHARACTERS + 1), "This file is too long for a report."),
        (b"x" * (4 * MAX_REPORT_CHARACTERS + 1), "This file is too long for a report."),
    ],
)
def test_a_file_that_is_no_report(page: Page, film: Path, content: bytes, title: str) -> None:
    """What is dropped on the box is refused with a reason; text, film and report stay."""
    explain(page, film, MINE)
    give(page, "drop", "given-text", content, "mine.bin", "")
    assert wait_error(page)[0] == title
    assert held(page) == MINE
    assert page.state == "read"


def test_a_film_is_still_dropped_and_pasted(page: Page) -> None:
    """But where text is pasted into a field, a picture of it beside it is none."""
    give(page, "dragover", "stage", b"", "film.png", "image/png")
    assert "mi-over" in str(page.element("drop").get_attribute("class"))
    assert "mi-over" not in str(page.element("given").get_attribute("class"))
    give(page, "drop", "stage", film_png(70, 50), "film.png", "image/png")
    wait_film(page, 70)
    fill(page, MINE)
    assert give(page, "paste", "given-text", film_png(80, 50), "image.png", "image/png", "A mass.") is True
    assert "image.png" not in page.text("chosen")
    assert give(page, "paste", "given-text", film_png(80, 50), "other.png", "image/png") is False
    wait_film(page, 80)
    assert held(page) == MINE


def test_dragged_text_is_the_fields_own(page: Page) -> None:
    """The browser puts it where it is dropped; beside a field it goes nowhere."""
    script = (
        "const transfer = new DataTransfer(); transfer.setData('text/plain', 'A mass.');"
        "return document.getElementById(arguments[0]).dispatchEvent("
        "new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }))"
    )
    assert page.run(script, "medinterp-given-text") is True
    assert page.run(script, "medinterp-stage") is False


def test_stopped_while_it_is_explained(page: Page, api: FakeApi, film: Path) -> None:
    """The text stands there at once, not as if it was being written; stopped, it stays without maps."""
    api.progress, api.word_delay_s = ProgressModel(what="occlusion", done=1, of=9), 0.3
    page.upload(film)
    fill(page, MINE)
    page.element("read").click()
    page.wait("return document.getElementById('medinterp-report').textContent.includes('mass')")
    assert page.text("report") == MINE
    assert page.text("given-note") == "Given, not written by the model."
    assert page.run("return document.querySelector('.mi-streaming')") is None
    page.element("stop").click()
    page.wait_state("chosen")
    assert page.text("status") == "Stopped. The report was not explained."
    assert page.text("given-note") == "Given, not written by the model."
    assert held(page) == MINE


def test_as_a_whole_it_is_not_compared(page: Page, api: FakeApi, film: Path) -> None:
    """The model would write another report; questions of the film can be asked."""
    explain(page, film, MINE)
    page.element("tab-compare").click()
    assert page.element("compare-run").is_enabled()
    page.run("document.getElementById('medinterp-compared-report').click()")
    assert page.text("compare-hint") == "This report was given: as a whole, only one that the model wrote is compared."
    assert not page.element("compare-run").is_enabled()
    page.run("document.getElementById('medinterp-given-clear').click()")
    page.read()
    page.element("tab-compare").click()
    assert page.element("compare-run").is_enabled()


def test_a_report_that_was_written_is_as_before(page: Page, film: Path) -> None:
    page.upload(film)
    page.read()
    assert TEXT.startswith("DEVICES")
    for name in ("given-note", "unlikely"):
        assert not page.element(name).is_displayed()
    assert page.run("return document.querySelectorAll('#medinterp-report .mi-unlikely').length") == 0


@pytest.mark.parametrize(("width", "height", "phone"), [(390, 844, True), (1280, 720, False), (1440, 900, False)])
def test_fits_the_screen(page: Page, api: FakeApi, film: Path, width: int, height: int, phone: bool) -> None:
    """With the box open and all that can be said of a report: nothing is too wide, button and status are in sight."""
    page.resize(width, height, phone=phone)
    api.report = GIVEN
    explain(page, film, GIVEN.text)
    open_ask(page)
    page.run("arguments[0].click()", page.word(RARE[0].index))
    page.wait_overlay()
    assert page.run("return document.documentElement.scrollWidth") == width
    inside = "const b = arguments[0].getBoundingClientRect(); return b.left >= 0 && b.right <= innerWidth"
    for name in ("given-text", "given-note", "unlikely"):
        assert page.run(inside, page.element(name)), name
    if phone:
        return
    assert page.run("return document.documentElement.scrollHeight") == height
    for name in ("read", "status"):
        box = page.element(name).rect
        assert box["y"] + box["height"] <= height, name
    assert page.element("report").size["height"] >= 110
    word = page.run(
        "const [w, r] = [...arguments].map((node) => node.getBoundingClientRect());"
        "return w.top >= r.top - 1 && w.bottom <= r.bottom + 1",
        page.word(RARE[0].index),
        page.element("column"),
    )
    assert word is True
