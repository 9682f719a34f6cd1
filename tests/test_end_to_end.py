"""What a newcomer does: start the service, upload a film, wait, click a word, and see the finding."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from medinterp.phantom import example_films
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
    browser.wait("return document.getElementById('medinterp-key-high').textContent !== 'high'")  # the maps are there
    with browser.asks_nothing():
        browser.word(words.index(NAME)).click()
        browser.wait_overlay()
    rgba = np.array(browser.pixels("overlay", 16 * 8, 16 * 8), dtype=np.float32).reshape(128, 128, 4)
    shown = rgba[..., 3] * (rgba[..., :3].max(axis=-1) - rgba[..., :3].min(axis=-1))  # how strongly it is coloured
    assert shown.max() > 255 * 8, "the click drew nothing"
    row, column = divmod(int(cv2.resize(shown, (16, 16), interpolation=cv2.INTER_AREA).argmax()), 16)
    covered = cv2.resize(mask_of(film, NAME).astype(np.float32), (16, 16), interpolation=cv2.INTER_AREA)
    assert covered[row, column] > 0.1, f"the peak, cell ({row}, {column}), is not on the finding"
    console, requests = browser.logs()
    assert console == []
    assert foreign_requests(requests) == []


def test_everything_that_the_reading_room_offers(demo: Served, film: Path, browser: Page) -> None:  # noqa: F811
    """On the service as it is served: a prior film, a region, the questions to the model, a link, files, forgetting."""
    browser.open(f"{demo.url}/")
    browser.upload(film)
    browser.element("prior").send_keys(str(film.with_name(film.name.replace(f"{SEED}", f"{SEED}-without-0"))))
    browser.read(120)
    words = browser.run("return [...document.querySelectorAll('.medinterp-word')].map(w => w.textContent.trim())")
    assert isinstance(words, list)
    browser.word(next(at for at, word in enumerate(words) if word in ("pleural", "pneumothorax", "No"))).click()
    first = browser.wait_overlay()
    browser.element("image-1").click()
    browser.wait_overlay(other_than=first)
    assert browser.text("which") == "Prior film"
    browser.element("image-0").click()
    browser.wait("return document.getElementById('medinterp-which').textContent === 'Current film'")

    browser.element("tool-region").click()
    left, top, width, height = browser.film_place()
    stage = browser.element("stage")
    middle = (stage.size["width"] / 2, stage.size["height"] / 2)
    ActionChains(browser.driver).move_to_element_with_offset(
        stage, round(left + 0.2 * width - middle[0]), round(top + 0.3 * height - middle[1])
    ).click_and_hold().move_by_offset(round(0.3 * width), round(0.4 * height)).release().perform()
    browser.wait("return document.querySelectorAll('#medinterp-driven li').length > 3")

    for tab, answer in (("text", "shares"), ("heads", "heads-grid")):
        browser.element(f"tab-{tab}").click()
        browser.element("sources-ask" if tab == "text" else "heads-ask").click()
        browser.wait(f"return document.getElementById('medinterp-{answer}') !== null", 60)
    before = browser.painted
    browser.driver.find_element(By.CSS_SELECTOR, ".mi-head").click()
    browser.wait_overlay(other_than=before)
    assert browser.text("drawn-method") == "Attention of layer 0, head 0"
    Select(browser.element("tint")).select_by_value("reliance")
    browser.wait("return document.getElementById('medinterp-legend').textContent.includes('nats')", 60)
    browser.element("beside").click()
    browser.wait("return document.getElementById('medinterp-second-which').textContent === 'Prior film'")

    for form in ("html", "figure-svg", "dicom-sc"):
        Select(browser.element("export")).select_by_value(form)
        browser.element("save").click()
        browser.wait("return !document.getElementById('medinterp-save').disabled", 60)
        assert not browser.element("error").is_displayed(), browser.text("error")
    address = str(browser.run("return location.href"))
    browser.driver.get("about:blank")
    browser.driver.get(address)
    browser.wait_state("read")
    browser.wait_overlay()
    browser.element("forget").click()
    browser.wait_state("empty")
    assert browser.run("return location.hash") == ""
    console, requests = browser.logs()
    assert console == []
    assert foreign_requests(requests) == []
    report = address.partition("report=")[2].partition("&")[0]
    assert demo.client.get(f"/v1/reports/{report}").status_code == 404


def test_curl_and_the_page_read_the_same_film_alike(demo: Served, film: Path) -> None:
    answer = demo.client.post("/v1/reports", files={"image": ("film.png", film.read_bytes(), "image/png")})
    assert answer.status_code == 201, answer.text
    findings = {f["name"] for f in answer.json()["report"]["findings"] if f["status"] == "present"}
    truth = json.loads(film.with_suffix(".json").read_text())
    assert findings == {finding["name"] for finding in truth["findings"]}


def test_it_fits_a_small_machine(demo: Served) -> None:
    """After all of the above; pages that processes share count once."""
    total = sum(process.memory_full_info().pss for process in demo.processes())
    assert total < 3 * 2**30


def test_sigterm_finishes_what_is_under_way_refuses_what_is_new_and_leaves_nothing(demo: Served) -> None:
    """The last test here: it ends the service."""
    film = {"image": ("film.png", example_films()[0].png, "image/png")}

    def read(**options: Any) -> httpx.Response:
        return httpx.post(f"{demo.url}/v1/reports", files=film, timeout=60, **options)

    with ThreadPoolExecutor(5) as pool:
        under_way = [pool.submit(read) for _ in range(3)]
        under_way.append(pool.submit(read, headers={"Accept": "text/event-stream"}))
        time.sleep(0.7)
        demo.tell(signal.SIGTERM)
        time.sleep(0.5)
        late = read()
    assert (late.status_code, late.headers["connection"]) == (503, "close")
    assert int(late.headers["retry-after"]) > 0
    assert [one.result().status_code for one in under_way] == [201, 201, 201, 200]
    assert "event: report" in under_way[-1].result().text
    assert demo.ended(60) == 0
    assert demo.processes() == []
