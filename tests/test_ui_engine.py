"""A report that an engine wrote, on the page: who wrote it, and whether its tokens are those that are explained."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - fixtures
from tests.page_api import FakeApi
from tests.page_fixtures import api, fake_films, film, film_png, page  # noqa: F401 - fixtures


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"tokens_compared": True}, "Written by big/<b>model at an engine; its tokens are those explained here."),
        (
            {"tokens_compared": True, "retokenised_at": 0},
            "Written by big/<b>model at an engine; from character 0 on its tokens are cut otherwise than here.",
        ),
        (
            {},
            "Written by big/<b>model at an engine, which did not tell its tokens: those explained here may be cut "
            "otherwise.",
        ),
    ],
)
def test_who_wrote_it_is_said_beside_the_report(
    page: Page, api: FakeApi, film: Path, told: dict[str, Any], sentence: str
) -> None:
    api.engine = {"writer": "big/<b>model", **told}
    page.upload(film)
    page.read()
    assert page.text("given-note") == sentence
    assert page.text("status").startswith("Read: ")
    page.word(2).click()
    page.wait_overlay()
    api.engine = {}
    page.read()
    assert not page.element("given-note").is_displayed()
    console, requests = page.logs()
    assert console == []
    assert foreign_requests(requests) == []
