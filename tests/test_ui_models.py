"""The page of a service with several models, in headless Chromium."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.support.ui import Select

from medinterp.api.schema_models import LoadedModelModel
from medinterp.ui import create_app
from tests.browser import Page, browser, chromium, serve  # noqa: F401 - fixtures
from tests.page_api import NOTICE, PROMPT, FakeApi, together
from tests.page_fixtures import fake_films, film  # noqa: F401 - fixtures

OTHER = LoadedModelModel(
    alias="other", id="owner/other", loaded=False, notice="Reads other films.", default_prompt="Look, other."
)


@pytest.fixture
def api() -> FakeApi:
    made = FakeApi()
    made.others = (OTHER,)
    return made


@pytest.fixture
def page(browser: Page, api: FakeApi, fake_films: None) -> Iterator[Page]:
    with serve(together(create_app(), api.app)) as url:
        browser.open(url)
        yield browser
        browser.driver.get("about:blank")


def banner(page: Page) -> tuple[str, str, str]:
    """Whose notice, which model, which prompt."""
    prompt = str(page.element("prompt").get_property("value"))
    return page.text("banner").removeprefix("Research use only, not for diagnosis. "), page.text("model"), prompt


def test_a_model_is_chosen_and_its_notice_stays_with_its_report(page: Page, api: FakeApi, film: Path) -> None:
    assert page.element("models").is_displayed()
    assert banner(page) == (NOTICE, "phantom", PROMPT)
    choice = Select(page.element("models"))
    choice.select_by_value("other")
    assert banner(page) == ("Reads other films.", "owner/other", "Look, other.")
    page.upload(film)
    page.read()
    (form,) = (form for verb, _, form in api.requests if verb == "POST")
    assert form["model"] == "other" and "prompt" not in form  # its own, which the service knows
    page.element("ask-toggle").click()
    choice.select_by_value("phantom")  # of the next film; the report in sight is the other's still
    assert banner(page) == ("Reads other films.", "owner/other", PROMPT)
    page.wait("return location.hash.includes('r=') || location.hash.length > 8")
    page.driver.refresh()
    page.wait("return document.getElementById('medinterp').dataset.state === 'read'")
    assert banner(page)[:2] == ("Reads other films.", "owner/other")
    assert page.element("models").get_property("value") == "other"
