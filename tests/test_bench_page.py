"""The page's benchmark, before the stand-in for the API: it measures what it says, or says why it does not."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import httpx
import pytest

from medinterp.cli import main
from medinterp.errors import ServiceError
from medinterp.evaluation.speed import page, service
from medinterp.ui import create_app
from tests.browser import serve
from tests.page_api import FakeApi, together
from tests.page_fixtures import api, fake_films, film_png  # noqa: F401 - pytest finds fixtures by name
from tests.programs import program

REPORT = page._report


def given(url: str, words: int, side: int) -> str:
    """The id of a report by the stand-in, which answers the page's requests alone."""
    form = {"report": page.long_report(words), "methods": "raw", "prompt": "Look."}
    answer = httpx.post(f"{url}/v1/reports", files={"image": ("film.png", film_png(side, side))}, data=form)
    (told,) = re.findall(r"^event: report\ndata: (.*)$", answer.text, re.MULTILINE)
    return str(json.loads(told)["id"])


@pytest.fixture
def url(api: FakeApi, fake_films: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the page, without the slash at its end; skipped without a browser."""
    program("chromium", "chromium")
    program("chromedriver", "chromium-driver")
    monkeypatch.setattr(page, "_report", given)
    with serve(together(create_app(), api.app)) as address:
        yield address.rstrip("/")


def test_a_long_report_has_the_words_that_were_asked_for() -> None:
    text = page.long_report(300)
    assert len(re.findall(r"\S+", text)) == 300
    assert text.startswith("DEVICES: ") and "\nIMPRESSION: " in text
    assert text.startswith(page.long_report(40))


def test_loads_and_clicks_are_measured(url: str) -> None:
    lines = page.page_lines(url, "stand-in", clicks=6, words=30, side=64)
    names = [line.name for line in lines]
    assert names == [
        "first load of the page / of its Gradio view",
        *(f"first load of the page / of its Gradio view ({told})" for told in ("brotli", "gzip", "not compressed")),
        *(
            f"click to painted, {told} of 6 / a frame (stand-in, 30 words, 64 x 64)"
            for told in ("median", "p95", "longest")
        ),
        "click on a word to painted / on nothing, medians (stand-in, 30 words, 64 x 64)",
        "what 6 clicks ask of the server / clicks (stand-in, 30 words, 64 x 64)",
    ]
    requests, brotli, gzip, plain, median, p95, longest, ratio, asked = lines
    assert 1 <= requests.value <= 12 and requests.value < requests.baseline
    assert 10 < brotli.value < gzip.value < plain.value
    assert brotli.value < 900
    assert 0 < median.value <= p95.value <= longest.value
    assert ratio.value == median.value and ratio.baseline > 0
    assert (asked.value, asked.baseline, asked.unit) == (0, 6, "requests")


def test_clicks_that_draw_nothing_and_reports_that_are_refused_are_no_measurement(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_load_lines", lambda driver, url: [])
    monkeypatch.setattr(page, "_DRAWN", "return 1")
    with pytest.raises(ServiceError, match="3 clicks were painted 3 times, with 0 maps"):
        page.page_lines(url, "stand-in", clicks=3, words=30, side=64)
    monkeypatch.setattr(page, "_report", REPORT)
    with pytest.raises(ServiceError, match="answered 405 to a given report of 30 words"):
        page.page_lines(f"{url}/nowhere", "stand-in", clicks=3, words=30, side=64)


@pytest.mark.parametrize(
    ("gone", "told"), [("chromium", "no Chromium"), ("chromedriver", "no chromedriver"), ("selenium", "selenium")]
)
def test_without_a_browser_the_section_says_so(
    gone: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "BROWSERS", ("chromium",))
    monkeypatch.setattr(shutil, "which", lambda name: None if name == gone else f"/usr/bin/{name}")
    monkeypatch.setattr(page.importlib.util, "find_spec", lambda name: None if name == gone else object())
    file = tmp_path / "page.json"
    assert main(["bench", "--page", "--json", str(file)]) == 0
    assert re.search(rf"skipped page: .*{told}", capsys.readouterr().err)
    assert told in json.loads(file.read_text())["skipped"]["page"]


def test_the_page_alone_is_measured_by_the_command(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "running_service", lambda model: nullcontext(url))
    monkeypatch.setattr(page, "CLICKS", 2)
    monkeypatch.setattr(page.page_lines, "__kwdefaults__", {"clicks": 2, "words": 20, "side": 64})
    assert main(["bench", "--page"]) == 0
    told = capsys.readouterr().out
    assert "what 2 clicks ask of the server / clicks (phantom, 20 words, 64 x 64): 0 / 2 requests" in told
    assert main(["bench", "--page", "--layout", "tiny"]) != 0
    assert "--page and --store go with --model" in capsys.readouterr().err
