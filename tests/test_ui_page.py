"""The page in headless Chromium, against a stand-in for the HTTP API."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import HTTPException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from medinterp.api.problems import Problem
from medinterp.api.schema import MethodsModel
from medinterp.ui import create_app
from tests.browser import Page, browser, chromium, foreign_requests, serve  # noqa: F401 - fixtures
from tests.page_api import MEANING, NOTICE, PROMPT, FakeApi, together
from tests.page_fixtures import (  # noqa: F401 - fixtures
    FILE_NAME,
    HEARTS,
    HEIGHT,
    NODULE,
    REPORT,
    WIDTH,
    api,
    chosen_words,
    fake_films,
    film,
    film_png,
    page,
    queries,
    take_example,
    wait_film,
    wait_paths,
)
from tests.page_reports import TEXT, fake_report

pytestmark = pytest.mark.filterwarnings("error")


def test_first_sight(page: Page, api: FakeApi) -> None:
    """Banner, notice, default prompt, examples, method with its meaning; nothing leaves the machine."""
    assert page.text("banner") == f"Research use only, not for diagnosis. {NOTICE}"
    assert page.text("model") == "phantom"
    assert page.element("prompt").get_property("value") == PROMPT
    assert page.text("method-note") == f"{MEANING} Vaswani et al. 2017"
    assert page.element("colormap").get_property("value") == ""
    assert page.element("max-tokens").get_property("value") == "300"
    assert not page.element("read").is_enabled()
    assert page.element("example-7").is_displayed()
    assert page.run("return document.getElementById('medinterp-example-8')") is None
    page.wait("return [...document.images].filter((i) => i.src).every((i) => i.complete && i.naturalWidth)")
    console, requests = page.logs()
    assert console == []
    asked = [url.split("/", 3)[3] for url in requests if url.startswith("http")]
    assert sorted(asked) == ["", "examples", "v1/methods", "v1/models", "v1/perturbations"], "it opens by five requests"
    assert foreign_requests(requests) == []


def test_upload_read_click(page: Page, api: FakeApi, film: Path) -> None:
    """The main job: the words come, a click draws a word's map, another click another map."""
    page.upload(film)
    wait_film(page, WIDTH)
    page.read()
    _, _, form = next(request for request in api.requests if request[0] == "POST")
    assert form == {"methods": "raw", "max_new_tokens": "300"}, "the prompt is the service's own"

    shown = page.run("return [...document.querySelectorAll('.medinterp-word')].map((w) => w.textContent)")
    assert shown == [word.text for word in REPORT.words]
    headings = page.run(
        "return [...document.querySelectorAll('#medinterp-report h3')].map((h) => h.textContent)"
    )
    assert headings == [section.name for section in REPORT.sections[:1]] + ["LUNGS \U0001fac1"] + [
        section.name for section in REPORT.sections[2:]
    ]
    bodies = page.run(
        "return [...document.querySelectorAll('#medinterp-report p')].map((p) => p.textContent)"
    )
    assert bodies == [section.text.strip() for section in REPORT.sections], "code points, not UTF-16"
    assert not page.element("overlay").is_displayed()

    (packed,) = wait_paths(api, "/maps/packed", 1)
    assert queries([packed]) == [{"method": "raw", "image": "0"}]
    with page.asks_nothing():
        page.word(NODULE).click()
        page.wait_overlay()
        assert page.text("subject") == "nodule"
        before = page.overlay_pixels()
        page.word(HEARTS).click()
        assert page.text("subject") == "heart"
        after = page.overlay_pixels()
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) > 50
    assert before != page.pixels("film", 30, 36)
    left, top, width, height = page.film_place()
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.001)
    canvases = page.run(
        "return ['film', 'overlay'].map((name) => document.getElementById(`medinterp-${name}`))"
        ".map((c) => [c.width, c.height, JSON.stringify(c.getBoundingClientRect())])"
    )
    assert isinstance(canvases, list)
    assert canvases[0] == canvases[1], "the map lies on the film"
    assert left >= 0 and top >= 0 and left + width <= canvases[0][0] + 1 and top + height <= canvases[0][1] + 1
    assert foreign_requests(page.logs()[1]) == []


def test_phrase_and_finding(page: Page, api: FakeApi, film: Path) -> None:
    """Shift-click extends to a phrase; a finding's own button draws the finding, and where it is said again."""
    page.upload(film)
    page.read()
    wait_paths(api, "/maps/packed", 1)
    with page.asks_nothing():
        page.word(NODULE - 1).click()
        one = page.overlay_pixels()
        ActionChains(page.driver).key_down(Keys.SHIFT).click(page.word(NODULE + 2)).key_up(Keys.SHIFT).perform()
        assert chosen_words(page) == list(range(NODULE - 1, NODULE + 3))
        assert "“small nodule in the”" in page.text("details")
        assert page.text("subject") == "small nodule in the"
        assert page.overlay_pixels() != one

        chip = page.driver.find_element("css selector", '#medinterp-findings [data-finding-index="3"]')
        assert chip.text == "pleural effusion, bilateral"
        chip.click()
        assert chosen_words(page) == list(REPORT.findings[3].word_indices)
        assert page.text("subject") == "pleural effusion, bilateral"
        absent = page.driver.find_element("css selector", '#medinterp-findings [data-finding-index="4"]')
        assert absent.text == "no pneumothorax"
        assert "mi-absent" in str(page.word(REPORT.findings[4].word_indices[0]).get_attribute("class"))

        twins = page.driver.find_elements("css selector", ":is([data-finding-index='1'], [data-finding-index='6'])")
        assert [twin.text for twin in twins] == ["nodule, left upper×2"], "what the impression repeats is one entry"
        (twin,) = twins
        assert twin.get_attribute("title") == "In LUNGS and IMPRESSION"
        for index in (1, 6, 1):
            twin.click()
            assert chosen_words(page) == list(REPORT.findings[index].word_indices)
            assert twin.get_attribute("aria-pressed") == "true"
        assert page.text("word") == "nodule, left upper in LUNGS, said again in IMPRESSION"


def test_keyboard(page: Page, api: FakeApi, film: Path) -> None:
    """One Tab stop in the report; arrows choose as they move, brackets and Shift+Enter extend, Escape clears."""
    page.upload(film)
    page.read()
    wait_paths(api, "/maps/packed", 1)
    stops = page.run("return document.querySelectorAll('.medinterp-word[tabindex=\"0\"]').length")
    assert stops == 1

    def press(*keys: str) -> None:
        actions = ActionChains(page.driver)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def shifted(*keys: str) -> None:
        ActionChains(page.driver).key_down(Keys.SHIFT).send_keys(*keys).key_up(Keys.SHIFT).perform()

    def focused() -> int:
        return int(str(page.run("return document.activeElement.dataset.wordIndex")))

    def chosen() -> list[int]:
        return chosen_words(page)

    page.logs()
    page.run("document.querySelector('.medinterp-word').focus()")
    assert focused() == 0
    assert chosen() == [], "Tab is not choosing"
    press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert focused() == 2
    assert chosen() == [2]
    page.wait_overlay()
    assert page.text("subject") == REPORT.words[2].text
    press("]")
    assert chosen() == [2, 3]
    press("]", "[")
    assert chosen() == [2, 3]
    press(Keys.ENTER)
    assert chosen() == [3]
    press(Keys.ARROW_DOWN)
    below = focused()
    assert REPORT.words[below].section == "LUNGS"
    assert chosen() == [below]
    press(Keys.ARROW_UP)
    assert REPORT.words[focused()].section == "DEVICES"
    press(Keys.END)
    last = len(REPORT.words) - 1
    assert focused() == last
    page.run("arguments[0].focus()", page.word(last - 2))
    shifted(Keys.ENTER)
    assert chosen() == [last - 2, last - 1, last]
    press(Keys.ESCAPE)
    assert chosen() == []
    assert not page.element("overlay").is_displayed()
    assert page.requests() == []


def test_tab_leads_from_the_findings_to_the_words(page: Page, film: Path) -> None:
    """The whole report is one stop, and the next one is behind it."""
    page.upload(film)
    page.read()
    page.run("document.querySelector('#medinterp-findings button:last-child').focus()")
    ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert page.run("return document.activeElement.ariaLabel") == "Select the whole section DEVICES"
    ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert page.run("return document.activeElement.dataset.wordIndex") == "0"
    ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert page.run("return document.activeElement.ariaLabel") == "Select the whole section LUNGS"


REFUSAL = Problem(
    type="urn:medinterp:problem:store-full",
    title="The store has no room for another report.",
    status=503,
    detail="Wait until <b>a report</b> expires.",
)


def test_refused_and_read_again(page: Page, api: FakeApi, film: Path) -> None:
    """A problem document is shown as text; film and prompt stay; the next try works."""
    page.upload(film)
    page.element("prompt").send_keys(" Be brief.")
    api.refuse = REFUSAL
    page.element("read").click()
    page.wait("return !document.getElementById('medinterp-error').hidden")
    assert page.text("error").splitlines() == [REFUSAL.title, REFUSAL.detail, "Try again in 2 s.", "Dismiss"]
    assert page.state == "chosen"
    assert FILE_NAME in page.text("chosen")
    assert page.element("film").is_displayed()
    assert page.element("prompt").get_property("value") == PROMPT + " Be brief."
    api.refuse = None
    page.read()
    assert not page.element("error").is_displayed()
    posts = [form for verb, _, form in api.requests if verb == "POST"]
    assert [form["prompt"] for form in posts] == [PROMPT + " Be brief."] * 2

    api.refuse = REFUSAL
    page.element("read").click()
    page.wait("return !document.getElementById('medinterp-error').hidden")
    assert page.state == "read", "the report that was there comes back when no other takes its place"
    page.word(NODULE).click()
    page.wait_overlay()


def test_stream_that_breaks(page: Page, api: FakeApi, film: Path) -> None:
    """An error in mid-report: what was written stays and is not clickable."""
    api.break_with = REFUSAL
    page.upload(film)
    page.element("read").click()
    page.wait("return !document.getElementById('medinterp-error').hidden")
    written = page.text("report")
    assert written
    assert TEXT.startswith(written)
    assert page.run("return document.querySelectorAll('.medinterp-word').length") == 0
    assert page.element("read").is_enabled()


def test_stop(page: Page, api: FakeApi, film: Path) -> None:
    """Words come while the report is written; Stop ends the request on the server too."""
    api.word_delay_s = 0.1
    page.upload(film)
    page.element("read").click()
    page.wait("return document.getElementById('medinterp-report').textContent.includes('endotracheal')")
    assert page.state == "reading"
    assert not page.element("read").is_enabled()
    page.element("stop").click()
    page.wait_state("chosen")
    assert page.text("status").startswith("Stopped.")
    assert page.text("report") != TEXT
    for _ in range(200):
        if api.stopped:
            break
        page.run("return new Promise((resume) => setTimeout(resume, 25))")
    assert api.stopped == 1
    api.word_delay_s = 0
    page.read()


def test_example_drop_and_paste(page: Page, api: FakeApi, film: Path) -> None:
    """The three other ways to choose a film; a new film takes the old report away."""
    take_example(page, 3)
    page.wait_state("chosen")
    wait_film(page, 43)
    assert page.text("example-caption") == "Caption 3"
    page.read()

    give = """
        const [kind, hex, name] = arguments;
        const bytes = Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
        const transfer = new DataTransfer();
        transfer.items.add(new File([bytes], name, { type: "image/png" }));
        const target = document.getElementById("medinterp-stage");
        const options = { bubbles: true, cancelable: true };
        target.dispatchEvent(kind === "drop"
          ? new DragEvent("drop", { ...options, dataTransfer: transfer })
          : new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
    """
    page.run(give, "drop", film_png(70, 50).hex(), "dropped.png")
    wait_film(page, 70)
    assert page.state == "chosen"
    assert page.run("return document.querySelectorAll('.medinterp-word').length") == 0
    assert "dropped.png" in page.text("chosen")
    page.run(give, "paste", film_png(80, 50).hex(), "pasted.png")
    wait_film(page, 80)
    page.read()
    page.word(NODULE).click()
    page.wait_overlay()


def test_film_that_the_browser_cannot_draw(page: Page, tmp_path: Path) -> None:
    """A DICOM film has no preview; it is said, and it can be read."""
    path = tmp_path / "film.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM")
    page.upload(path)
    page.wait("return document.getElementById('medinterp-empty').textContent.includes('film.dcm')")
    assert not page.element("film").is_displayed()
    assert page.element("read").is_enabled()


def test_film_above_the_limit(page: Page, api: FakeApi, film: Path, tmp_path: Path) -> None:
    """It is refused before it is sent, and the film chosen before stays."""
    page.upload(film)
    path = tmp_path / "huge.png"
    path.write_bytes(b"\0" * (api.max_upload_bytes + 1))
    page.element("file").send_keys(str(path))
    page.wait("return !document.getElementById('medinterp-error').hidden")
    assert "the limit is 1 MiB" in page.text("error")
    assert FILE_NAME in page.text("chosen")


def test_forget_and_download(page: Page, api: FakeApi, film: Path) -> None:
    """Downloads ask the API's export; what needs a selection says so; forgetting deletes and clears the page."""
    page.upload(film)
    page.read()
    export = Select(page.element("export"))
    for form in ("html", "json", "npz"):
        export.select_by_value(form)
        page.element("save").click()
        page.wait("return !document.getElementById('medinterp-save').disabled")
    exports = wait_paths(api, "/export", 3)
    assert queries(exports) == [{"format": form} for form in ("html", "json", "npz")]
    export.select_by_value("figure-pdf")
    assert not page.element("save").is_enabled()
    assert page.element("save").get_attribute("title") == "Choose a word or a finding first"
    page.word(NODULE).click()
    page.run(
        "const t = document.getElementById('medinterp-threshold'); t.value = 0.3; t.dispatchEvent(new Event('input'))"
    )
    page.element("save").click()
    assert queries(wait_paths(api, "/export", 4))[-1] == {
        "cutoff": "0.3",
        "format": "figure-pdf",
        "words": f"{NODULE}-{NODULE}",
        "method": "raw",
        "scale": "report",
        "quantity": "relevancy",
        "without_sinks": "false",
        "opacity": "0.5",
        "contours": "false",
    }
    assert len(api.films) == 1
    page.element("forget").click()
    page.wait_state("chosen")
    assert api.films == {}
    assert page.run("return document.querySelectorAll('.medinterp-word').length") == 0
    assert not page.element("forget").is_displayed()


def test_report_that_was_cut_off(page: Page, api: FakeApi, film: Path) -> None:
    """A report that ended at the token limit says so."""
    api.report = fake_report(complete=False)
    page.upload(film)
    page.read()
    assert page.text("cut").startswith(f"Cut off after {len(REPORT.tokens)} tokens.")


def test_nothing_is_left_behind(page: Page, api: FakeApi, film: Path) -> None:
    """No film name, prompt or report in the address or the storage; the address goes with the report."""
    before = str(page.run("return location.href"))
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    page.wait_overlay()
    (report,) = api.films
    page.wait("return location.hash.includes('words=')")
    address = str(page.run("return location.href"))
    assert address.startswith(f"{before}#report={report}&")
    assert report not in page.driver.execute_script("return document.title + document.referrer")
    kept = str(
        page.run("return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.state])")
    )
    for secret in ("Doe", "nodule", "radiograph"):
        assert secret not in kept
        assert secret not in address
    assert report not in kept
    databases = page.run("return indexedDB.databases().then((all) => all.map((one) => one.name))")
    assert databases == []
    page.element("forget").click()
    page.wait_state("chosen")
    assert page.run("return location.href") == before


def test_model_that_comes_up_late(browser: Page, api: FakeApi, fake_films: None) -> None:
    """The page waits for the API, says so, and goes on by itself."""
    waiting = True
    routes = api.app.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", "") != "/methods"]

    @api.app.get("/methods")
    async def methods() -> MethodsModel:
        if waiting:
            raise HTTPException(503)
        return await api.methods()

    with serve(together(create_app(), api.app)) as url:
        browser.driver.get(url)
        browser.wait("return document.getElementById('medinterp-status')?.textContent.startsWith('Waiting')")
        browser.element("example-0").click()
        browser.wait_state("chosen")
        assert not browser.element("read").is_enabled()
        waiting = False
        browser.wait("return !document.getElementById('medinterp-read').disabled")
        browser.read()
        browser.driver.get("about:blank")


@pytest.mark.parametrize(
    ("width", "height", "phone"),
    [(390, 844, True), (820, 1180, True), (1280, 800, False), (1440, 900, False), (3840, 2160, False)],
)
def test_fits_the_screen(page: Page, film: Path, width: int, height: int, phone: bool) -> None:
    """Nothing is wider than the screen; on a phone the film stays in sight beside the chosen word."""
    page.resize(width, height, phone=phone)
    page.upload(film)
    page.read()
    page.run("arguments[0].scrollIntoView({ block: 'center' })", page.word(HEARTS))
    page.run("arguments[0].click()", page.word(HEARTS))
    page.wait_overlay()
    wide = page.run("return document.documentElement.scrollWidth")
    assert wide == width
    if not phone:
        assert page.run("return document.documentElement.scrollHeight") == height
    report = page.run("const r = document.getElementById('medinterp-column').getBoundingClientRect(); return r.height")
    if not phone:
        assert isinstance(report, (int, float))
        assert report > 0.6 * height, "the report has the height of the window"
    box = page.run(
        "const b = arguments[0].getBoundingClientRect(); return [b.top, b.bottom]", page.element("overlay")
    )
    assert isinstance(box, list)
    assert box[0] >= 0
    assert box[1] <= height
