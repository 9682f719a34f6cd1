"""What a newcomer does: start the service, upload a film, wait, click a word, and see the finding."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from medinterp.phantom.files import write_film
from medinterp.phantom.films import TEST_SEEDS_START, sample_film
from tests.browser import Page, browser, chromium, foreign_requests  # noqa: F401 - pytest finds fixtures by name
from tests.served import Served

SEED, NAME = TEST_SEEDS_START + 26, "pleural"
WIDTH, HEIGHT = 900, 750


@pytest.fixture(scope="module")
def demo() -> Iterator[Served]:
    """The service as `make serve` starts it, with the packaged model."""
    service = Served("phantom")
    yield service
    service.stop(signal.SIGTERM)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film")
    write_film(sample_film(SEED), WIDTH, HEIGHT, folder)
    return folder / f"film-{SEED}.png"


def mask_of(film: Path, name: str) -> np.ndarray:
    """Where the finding lies, bool [HEIGHT, WIDTH]."""
    truth = json.loads(film.with_suffix(".json").read_text())
    (found,) = [finding for finding in truth["findings"] if name in finding["name"]]
    mask = cv2.imread(str(film.parent / found["mask"]), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    return mask > 0


def test_a_click_on_a_word_shows_where_it_came_from(demo: Served, film: Path, browser: Page) -> None:  # noqa: F811
    browser.open(f"{demo.url}/")
    banner = browser.text("banner")
    assert "Research use only, not for diagnosis" in banner
    assert "reads synthetic films only" in banner
    browser.upload(film)
    browser.read(120)
    words = browser.run("return [...document.querySelectorAll('.medinterp-word')].map(w => w.textContent.trim())")
    assert isinstance(words, list)
    before = browser.overlay_source()
    browser.word(words.index(NAME)).click()
    browser.wait_overlay(other_than=before)

    drawn = browser.run(
        "const o = document.getElementById('medinterp-overlay'); return [o.naturalWidth, o.naturalHeight]"
    )
    assert isinstance(drawn, list)
    width, height = (int(side) for side in drawn)
    overlay = np.array(browser.pixels("overlay", width, height)).reshape(height, width, 4)[..., :3]
    plain = cv2.resize(cv2.imread(str(film), cv2.IMREAD_GRAYSCALE), (width, height), interpolation=cv2.INTER_AREA)
    change = (overlay.max(axis=-1) - overlay.min(axis=-1)).astype(np.float32)  # a gray film has none
    assert change.max() > 8, "the click drew nothing"
    assert np.abs(overlay.mean(axis=-1) - plain).mean() < 30
    cells = cv2.resize(change, (16, 16), interpolation=cv2.INTER_AREA)
    row, column = divmod(int(cells.argmax()), 16)
    covered = cv2.resize(mask_of(film, NAME).astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
    assert covered[row, column] > 0.1, f"the peak, cell ({row}, {column}), is not on the finding"
    console, requests = browser.logs()
    assert console == []
    assert foreign_requests(requests) == []


def test_curl_and_the_page_read_the_same_film_alike(demo: Served, film: Path) -> None:
    answer = demo.client.post("/v1/reports", files={"image": ("film.png", film.read_bytes(), "image/png")})
    assert answer.status_code == 201, answer.text
    findings = {f["name"] for f in answer.json()["report"]["findings"] if f["status"] == "present"}
    truth = json.loads(film.with_suffix(".json").read_text())
    assert findings == {finding["name"] for finding in truth["findings"]}


def test_it_fits_a_small_machine(demo: Served) -> None:
    total = sum(process.memory_info().rss for process in demo.processes())
    assert total < 3 * 2**30
