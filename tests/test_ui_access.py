"""axe-core finds nothing to complain of in any state of the page, dark or light, on a desk, a tablet or a phone."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest

from medinterp.types import FilmWarning, WindowChoice
from tests.axe import axe_script
from tests.browser import Page, browser, chromium  # noqa: F401 - fixtures
from tests.page_api import GONE, FakeApi
from tests.page_fixtures import (  # noqa: F401 - fixtures
    NODULE,
    OCCLUSION,
    api,
    drag_on_film,
    fake_films,
    film,
    open_ask,
    open_drawer,
    page,
    wait_drawn,
    wait_shown,
)
from tests.page_reports import every_kind_given

pytestmark = pytest.mark.filterwarnings("error")

SIZES = [(390, 844, True), (820, 1180, True), (1440, 900, False)]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_script()


def faults(page: Page, axe: str) -> list[str]:
    """What axe finds: rule, element, what is wrong with it."""
    if page.run("return window.axe === undefined"):
        page.run(axe)
    page.run("return new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)))")
    found = page.driver.execute_async_script(
        """
        const [rules, done] = arguments;
        axe.run(document, { runOnly: rules, resultTypes: ["violations"] }).then(({ violations }) =>
          done(violations.flatMap(({ id, nodes }) =>
            nodes.map(({ target, failureSummary }) => `${id}: ${target.join(" ")}: ${failureSummary}`))));
        """,
        RULES,
    )
    assert isinstance(found, list)
    return found


def check(page: Page, axe: str, state: str) -> None:
    assert faults(page, axe) == [], state


def press(page: Page, name: str) -> None:
    """A click wherever it is."""
    page.run(f"document.getElementById('medinterp-{name}').click()")


def test_axe_finds_faults(page: Page, axe: str) -> None:
    """The checks below would prove nothing otherwise."""
    page.run(
        "const wrong = document.createElement('button'); wrong.style.cssText = 'color: #333; background: #222';"
        "document.querySelector('main').append(wrong, Object.assign(document.createElement('img'), { src: 'data:,' }))"
    )
    found = " ".join(faults(page, axe))
    assert "button-name" in found and "image-alt" in found


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height", "phone"), SIZES)
def test_from_the_first_sight_to_a_word(
    page: Page, api: FakeApi, film: Path, axe: str, width: int, height: int, phone: bool, theme: str
) -> None:
    """Empty, chosen, being read, read, a word and each view of the drawer."""
    page.resize(width, height, phone=phone)
    if theme == "light":
        press(page, "theme")
    check(page, axe, "empty")
    page.upload(film)
    check(page, axe, "chosen")
    api.word_delay_s = 0.2
    press(page, "read")
    page.wait("return document.getElementById('medinterp-report').textContent.includes('endotracheal')")
    check(page, axe, "reading")
    api.word_delay_s = 0
    page.wait_state("read")
    check(page, axe, "read")
    page.run("arguments[0].click()", page.word(NODULE))
    wait_drawn(page, "Raw attention")
    check(page, axe, "a word")
    open_drawer(page)
    check(page, axe, "its details")
    for tab, ask, shown in (("text", "sources-ask", "shares"), ("heads", "heads-ask", "heads-grid")):
        open_drawer(page, tab)
        check(page, axe, f"{tab}, not asked")
        press(page, ask)
        wait_shown(page, shown)
        check(page, axe, tab)
    page.run("document.querySelector('[data-head=\"1,2\"]').click()")
    check(page, axe, "a head")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height", "phone"), SIZES)
def test_tools_second_view_and_dialogs(
    page: Page, api: FakeApi, film: Path, axe: str, width: int, height: int, phone: bool, theme: str
) -> None:
    """Window, region, second view with a prior film, a measure that runs, a judgement, the keys, a problem."""
    page.resize(width, height, phone=phone)
    if theme == "light":
        press(page, "theme")
    page.upload(film)
    page.element("prior").send_keys(str(film))
    check(page, axe, "a prior film")
    press(page, "read")
    page.wait_state("read")
    page.run("arguments[0].click()", page.word(NODULE))
    wait_drawn(page, "Raw attention")
    press(page, "tool-window")
    check(page, axe, "window and level")
    press(page, "tool-region")
    page.run("document.getElementById('medinterp-stage').scrollIntoView({ block: 'center' })")
    drag_on_film(page, (0.3, 0.3), (0.6, 0.6))
    wait_shown(page, "driven")
    check(page, axe, "a region")
    api.questions.hold_at = 1
    page.run(
        "const field = document.getElementById('medinterp-method');"
        "field.value = 'occlusion'; field.dispatchEvent(new Event('change'))"
    )
    page.wait("return document.getElementById('medinterp-measuring-bar').value === 32")
    check(page, axe, "a method being computed")
    api.questions.hold_at = None
    wait_drawn(page, OCCLUSION)
    check(page, axe, "a signed map")
    press(page, "beside")
    page.wait("return document.getElementById('medinterp-second-overlay').checkVisibility()")
    check(page, axe, "a second view")
    press(page, "difference")
    check(page, axe, "a difference")
    press(page, "beside")
    open_drawer(page)
    press(page, "judge")
    wait_shown(page, "verdict")
    check(page, axe, "a judgement")
    press(page, "keys")
    check(page, axe, "the keys")
    page.run("document.getElementById('medinterp-keys-list').close()")
    press(page, "tab-compare")
    press(page, "compare-run")
    wait_shown(page, "compared")
    check(page, axe, "a comparison")
    press(page, "tab-map")
    api.refuse = GONE
    press(page, "read")
    wait_shown(page, "error")
    check(page, axe, "a problem")


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(("width", "height", "phone"), SIZES)
def test_all_that_can_be_said_of_a_report(
    page: Page, api: FakeApi, film: Path, axe: str, width: int, height: int, phone: bool, theme: str
) -> None:
    """Findings in three statuses, names, thoughts, unread and unlikely words, warnings, windows, a given report."""
    page.resize(width, height, phone=phone)
    if theme == "light":
        press(page, "theme")
    api.report = every_kind_given()
    api.warnings = (FilmWarning("low-contrast", "Low contrast."), FilmWarning("inverted", "Inverted.", withholds=True))
    api.windows = (WindowChoice("window-1", "center 2048"), WindowChoice("full", "no window"))
    page.upload(film)
    page.run("document.getElementById('medinterp-given').open = true")
    page.run(
        "const box = document.getElementById('medinterp-given-text'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))",
        api.report.text,
    )
    check(page, axe, "a report in the box")
    press(page, "read")
    wait_shown(page, "force")
    check(page, axe, "withheld")
    press(page, "force")
    page.wait_state("read")
    check(page, axe, "explained")
    page.run("document.querySelector('#medinterp-thinking summary').click()")
    page.run("document.querySelector('#medinterp-made summary').click()")
    page.run("document.querySelector('#medinterp-findings button').click()")
    wait_drawn(page, "Raw attention")
    check(page, axe, "a finding, thoughts, how it was made")
    open_ask(page)
    check(page, axe, "film and prompt beside the report")
