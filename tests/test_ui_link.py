"""A view as an address: what a link restores, back and forward, and what one reader never sees of another."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.browser import Page, browser, chromium, other_browser  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    HEARTS,
    NODULE,
    OCCLUSION,
    api,
    choose_method,
    chosen_words,
    drag_on_film,
    fake_films,
    film,
    film_png,
    page,
    press,
    wait_drawn,
    wait_film,
    wait_for,
    wait_shown,
)

pytestmark = pytest.mark.filterwarnings("error")

PAUSE = "return new Promise((resume) => setTimeout(resume, 900))"
"""Longer than the time within which choices are one step for "back"."""


def address(page: Page) -> str:
    return str(page.run("return location.href"))


def marks(page: Page) -> list[list[float]]:
    found = page.run(
        "return [...document.querySelectorAll('#medinterp-marks .mi-region')].map((r) =>"
        " ['x', 'y', 'width', 'height'].map((name) => Number(r.getAttribute(name))))"
    )
    assert isinstance(found, list)
    return found


def test_a_link_restores_what_is_seen(page: Page, api: FakeApi, film: Path, other_browser: Page) -> None:
    """In a browser that knows nothing: report, film, word, method, zoom, window, region and the drawer's view."""
    page.upload(film)
    page.read()
    page.word(NODULE).click()
    choose_method(page, "occlusion")
    wait_drawn(page, OCCLUSION)
    page.element("scale-map").click()
    page.element("tool-region").click()
    drag_on_film(page, (0.25, 0.25), (0.5, 0.75))
    page.element("tool-window").click()
    page.element("level").send_keys(*[Keys.ARROW_LEFT] * 10)
    page.element("zoom-in").click()
    page.element("zoom-in").click()
    page.element("link").click()
    page.wait("return ['zoom=', 'box=', 'window='].every((part) => location.hash.includes(part))")
    link = address(page)

    other_browser.come(link)
    other_browser.wait_state("read")
    wait_drawn(other_browser, OCCLUSION)
    assert other_browser.text("subject") == "nodule"
    assert chosen_words(other_browser) == [NODULE]
    assert other_browser.element("scale-map").is_selected()
    assert other_browser.text("window-facts") == page.text("window-facts") == "Level 40 %, width 100 %"
    assert np.ravel(marks(other_browser)) == pytest.approx(np.ravel(marks(page)), abs=1e-4)
    assert other_browser.element("region").is_displayed()
    order = "return [...document.querySelectorAll('[data-driven]')].map((row) => row.dataset.driven)"
    assert other_browser.run(order) == page.run(order)
    other_browser.wait("return document.getElementById('medinterp-film').dataset.width === '300'")
    ours, theirs = page.film_place(), other_browser.film_place()
    assert theirs[2] / theirs[3] == pytest.approx(ours[2] / ours[3], rel=1e-4)
    assert other_browser.run("return document.getElementById('medinterp-prompt').value") == page.run(
        "return document.getElementById('medinterp-prompt').value"
    )
    assert other_browser.run("return location.hash.includes('zoom=1.56')")
    other_browser.word(HEARTS).click()
    assert other_browser.text("subject") == "heart"
    assert [verb for verb, path, _ in api.requests if verb == "POST"] == ["POST"], "nothing was written anew"


@pytest.mark.parametrize("hash", [f"report={'0123456789abcdef' * 2}&words=3-3", "report=<img>", "words=1-2", "x"])
def test_a_link_that_leads_nowhere(browser: Page, page: Page, api: FakeApi, film: Path, hash: str) -> None:
    """An expired report is said to be so; what is no link is an empty page; both can go on."""
    page.come(address(page) + "#" + hash)
    page.wait("return document.querySelector('#medinterp-method option') !== null")
    if hash.startswith("report=0"):
        wait_shown(page, "error")
        assert page.text("error").startswith("Not found.\nIt has expired.")
    assert page.state == "empty"
    page.upload(film)
    page.read()
    assert page.run("return location.hash").startswith(f"#report={next(iter(api.films))}")  # type: ignore[union-attr]


def test_a_finding_and_hostile_numbers(page: Page, api: FakeApi, film: Path) -> None:
    """A finding is restored; words and numbers that the report has not are left out."""
    page.upload(film)
    page.read()
    page.driver.find_element("css selector", '#medinterp-findings [data-finding-index="3"]').click()
    page.wait("return location.hash.includes('finding=3')")
    (report,) = api.films
    base = address(page).partition("#")[0]
    page.come(address(page))
    page.wait_state("read")
    wait_drawn(page, "Raw attention")
    assert page.text("subject") == "pleural effusion, bilateral"
    page.come(f"{base}#report={report}&words=5-99999&method=nonsense&zoom=1e9,NaN,x&window=-4,0,1&box=9,9,9,9&tab=x&image=7")
    page.wait_state("read")
    assert chosen_words(page) == []
    page.word(NODULE).click()
    wait_drawn(page, "Raw attention")
    assert page.logs()[0] == []


def test_back_and_forward(page: Page, film: Path) -> None:
    """Each settled choice is a step; back before the report is the film before it was read."""
    page.upload(film)
    page.read()
    page.run(PAUSE)
    page.word(NODULE).click()
    page.wait(f"return location.hash.includes('words={NODULE}-')")
    page.run(PAUSE)
    page.word(HEARTS).click()
    page.wait(f"return location.hash.includes('words={HEARTS}-')")
    page.driver.back()
    page.wait("return document.getElementById('medinterp-subject').textContent === 'nodule'")
    assert chosen_words(page) == [NODULE]
    page.driver.forward()
    page.wait("return document.getElementById('medinterp-subject').textContent === 'heart'")
    for _ in range(5):
        page.driver.back()
        page.run("return new Promise((resume) => setTimeout(resume, 100))")
        if page.run("return location.hash") == "":
            break
    page.wait_state("chosen")
    wait_film(page, 300)
    assert page.run("return document.querySelectorAll('.medinterp-word').length") == 0
    page.driver.forward()
    page.wait_state("read")


def test_walking_with_the_arrow_keys_is_one_step(page: Page, film: Path) -> None:
    """Twenty words that were passed do not take twenty steps back."""
    page.upload(film)
    page.read()
    page.run(PAUSE)
    page.word(3).click()
    page.wait("return location.hash.includes('words=3-3')")
    before = page.run("return history.length")
    press(page, *[Keys.ARROW_RIGHT] * 10)
    page.wait("return location.hash.includes('words=13-13')")
    assert int(str(page.run("return history.length"))) - int(str(before)) <= 1


def test_what_was_forgotten_does_not_come_back(page: Page, api: FakeApi, film: Path) -> None:
    """Going back to a report that was deleted says that it is gone, and shows nothing of it."""
    page.upload(film)
    page.read()
    page.run(PAUSE)
    page.word(NODULE).click()
    page.wait("return location.hash.includes('words=')")
    page.element("forget").click()
    page.wait_state("chosen")
    assert page.run("return location.hash") == ""
    page.driver.back()
    wait_shown(page, "error")
    assert "It has expired." in page.text("error")
    assert page.run("return document.querySelectorAll('.medinterp-word').length") == 0
    assert not page.element("overlay").is_displayed()
    assert not page.element("film").is_displayed()


def test_the_theme_is_kept(page: Page, film: Path) -> None:
    """Dark by default, light by choice; the choice is all that the browser keeps."""
    dark = page.run("return getComputedStyle(document.getElementById('medinterp')).backgroundColor")
    assert dark == "rgb(11, 13, 15)"
    page.element("theme").click()
    light = page.run("return getComputedStyle(document.getElementById('medinterp')).backgroundColor")
    assert light == "rgb(238, 241, 243)"
    page.upload(film)
    page.read()
    assert page.element("stage").value_of_css_property("background-color") == "rgba(0, 0, 0, 1)", "a film is on black"
    page.driver.refresh()
    page.wait_state("read")
    assert page.run("return document.getElementById('medinterp').dataset.theme") == "light"
    assert page.run("return JSON.stringify({ ...localStorage })") == '{"medinterp-theme":"light"}'
    page.element("theme").click()
    assert page.run("return getComputedStyle(document.getElementById('medinterp')).backgroundColor") == dark


def test_two_readers_never_see_each_others_film(
    page: Page, api: FakeApi, film: Path, other_browser: Page, tmp_path: Path
) -> None:
    """Both at once: each has its own film, report and maps, and no address of the other."""
    theirs = tmp_path / "Roe_Richard.png"
    theirs.write_bytes(film_png(200, 420))
    api.word_delay_s = 0.02
    other_browser.open(address(page))
    page.upload(film)
    other_browser.upload(theirs)
    for reader in (page, other_browser):
        reader.logs()
        reader.element("read").click()
    wait_for(lambda: len(api.films) == 2)
    for reader in (page, other_browser):
        reader.wait_state("read")
        reader.word(NODULE).click()
        wait_drawn(reader, "Raw attention")
    ids = [address(reader).partition("#report=")[2].partition("&")[0] for reader in (page, other_browser)]
    assert len(set(ids)) == 2
    widths = {report: image.width for report, image in api.films.items()}
    for reader, own, other, width in ((page, *ids, 300), (other_browser, *ids[::-1], 200)):
        assert widths[own] == width
        wait_film(reader, width)
        place = reader.film_place()
        assert place[2] / place[3] == pytest.approx({300: 300 / 360, 200: 200 / 420}[width], rel=0.01)
        asked = reader.requests()
        assert any(own in url for url in asked)
        assert not any(other in url for url in asked)
        assert other not in str(reader.run("return document.documentElement.outerHTML + location.href"))
    assert "Roe_" not in str(page.run("return document.documentElement.outerHTML"))
    assert "Doe_" not in str(other_browser.run("return document.documentElement.outerHTML"))
    other_browser.element("forget").click()
    other_browser.wait_state("chosen")
    assert list(api.films) == [ids[0]]
    ActionChains(page.driver).move_to_element(page.word(HEARTS)).click().perform()
    assert page.text("subject") == "heart"
