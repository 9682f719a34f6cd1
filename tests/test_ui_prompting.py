"""Prompt and indication on the page: what is sent, and that an indication goes with its film."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import api, fake_films, film, film_png, open_ask, page, take_example, wait_film  # noqa: F401 - fixtures

pytestmark = pytest.mark.filterwarnings("error")


def test_an_indication_is_sent_and_goes_with_its_film(page: Page, api: FakeApi, film: Path) -> None:
    page.upload(film)
    field = page.element("indication")
    assert field.get_attribute("autocomplete") == "off" and field.get_property("value") == ""
    field.send_keys("cough, fever")
    page.read()
    (form,) = [form for verb, _, form in api.requests if verb == "POST"]
    assert (form["indication"], "prompt" in form) == ("cough, fever", False)
    open_ask(page)
    take_example(page, 0)
    assert field.get_property("value") == ""
    assert "The indication went with its film." in page.text("status")
    field.send_keys("fall")
    page.upload(film)
    assert field.get_property("value") == "fall", "what no film was read with stays"


def test_a_model_that_reads_none_has_no_field_for_it(page: Page, api: FakeApi, film: Path) -> None:
    api.reads_indication = False
    page.driver.refresh()
    page.wait("return document.querySelector('#medinterp-prompt').value !== ''")
    page.upload(film)
    assert not page.element("indication").is_displayed()
    page.run("document.getElementById('medinterp-indication').value = 'left from before'")
    page.read()
    (form,) = [form for verb, _, form in api.requests if verb == "POST"]
    assert "indication" not in form
