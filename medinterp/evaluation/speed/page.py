"""The page in a browser: its first load, and how long a click on a word takes until its map is on the screen."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np

from medinterp.errors import ServiceError
from medinterp.evaluation.speed.line import BenchLine

SIDE = 2048
WORDS = 300
CLICKS = 200
FRAME_MS = 16.0
"""What a click may take: a frame of a screen that shows 60 a second."""
WINDOW = (1440, 900)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET_S = 2.0
"""Without a request for that long a page has loaded."""
LOADED_S = 120.0
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A frame is drawn when it is ready: what is measured is the page, not its wait for a screen that is not there.
    "--disable-frame-rate-limit",
    "--disable-gpu-vsync",
)
_WATCH = """
window.measured = { words: [], nothing: [] };
document.addEventListener("click", (event) => {
  if (!event.isTrusted) return;
  // The frame that follows is the one that shows what the click changed; the task behind it comes when it is painted.
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const passed = performance.now() - event.timeStamp;
      (event.target.closest(".medinterp-word") ? window.measured.words : window.measured.nothing).push(passed);
    };
    port2.postMessage(null);
  });
}, true);
"""
_WORD = '.medinterp-word[data-word-index="{}"]'
_NOTHING = "#medinterp-banner"
"""Where a click changes nothing."""
_PLACE = """
const node = document.querySelector(arguments[0]);
node.scrollIntoView({ block: "center" });
const { left, top, width, height } = node.getClientRects()[0];
return [left + width / 2, top + height / 2];
"""
_DRAWN = "return Number(document.getElementById('medinterp-overlay').dataset.drawn ?? 0)"


def missing() -> str:
    """What this machine lacks for a browser, or ""."""
    if _browser() is None:
        return "there is no Chromium here (Debian: apt-get install chromium chromium-driver)"
    if shutil.which("chromedriver") is None:
        return "there is no chromedriver here (Debian: apt-get install chromium-driver)"
    if importlib.util.find_spec("selenium") is None:
        return "the package selenium is not installed (pip install 'medinterp[dev]')"
    return ""


def page_lines(url: str, label: str, *, clicks: int = CLICKS, words: int = WORDS, side: int = SIDE) -> list[BenchLine]:
    """First load and clicks of the page that is served at `url`, whose model is `label`.

    The report is a given one of `words` words on a synthetic film of side x side pixels. Raises ServiceError when the
    report is refused, or when a click draws nothing. `missing` has said that there is a browser.
    """
    with _driver() as driver:
        lines = _load_lines(driver, url)
        report_id = _report(url, words, side)
        lines += _click_lines(driver, f"{url}/#report={report_id}", clicks, f"{label}, {words} words, {side} x {side}")
    return lines


def long_report(words: int) -> str:
    """So many words of the reports of synthetic films, one after the other."""
    from medinterp.phantom.films import draw_film, reference_report, sample_film

    parts: list[str] = []
    seed = 10_000_000
    while len(parts) < words:
        film = sample_film(seed)
        parts += re.findall(r"\S+\s*", reference_report(film, draw_film(film, 256, 256)) + "\n")
        seed += 1
    return "".join(parts[:words]).strip()


def _report(url: str, words: int, side: int) -> str:
    """The id of a report that was given to the service."""
    from medinterp.phantom.films import draw_film, sample_film
    from medinterp.render import encode_png

    film = encode_png(draw_film(sample_film(10_000_000), side, side).uint16())
    files = {"image": ("film.png", film, "image/png")}
    made = httpx.post(f"{url}/v1/reports", files=files, data={"report": long_report(words)}, timeout=300)
    if made.status_code != 201:
        raise ServiceError(f"the service answered {made.status_code} to a given report of {words} words")
    return str(made.json()["id"])


def _load_lines(driver: Any, url: str) -> list[BenchLine]:
    """Requests and bytes until each page is quiet, with an empty cache, by what the browser takes."""
    lines: list[BenchLine] = []
    for encoding, told in (("br", "brotli"), ("gzip", "gzip"), ("identity", "not compressed")):
        driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Accept-Encoding": encoding}})
        page, view = _loaded(driver, f"{url}/"), _loaded(driver, f"{url}/gradio/")
        if not lines:
            lines.append(_line("first load of the page / of its Gradio view", view[0], page[0], "requests"))
        theirs, own = (round(size / 1000, 1) for size in (view[1], page[1]))
        lines.append(_line(f"first load of the page / of its Gradio view ({told})", theirs, own, "kB over the wire"))
    driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})
    return lines


def _loaded(driver: Any, url: str) -> tuple[int, int]:
    """Requests and bytes, headers too, of a first load. Raises ServiceError when it does not end or a request fails."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    _messages(driver)
    driver.get(url)
    sizes: dict[str, int | None] = {}  # by request: None until it has ended
    began = quiet = time.monotonic()
    while time.monotonic() - quiet < QUIET_S:
        for message in _messages(driver):
            request = message["params"].get("requestId")
            if _asks(message):
                sizes[request] = None
            elif message["method"] == "Network.loadingFinished" and request in sizes:
                sizes[request] = int(message["params"]["encodedDataLength"])
            elif message["method"] == "Network.loadingFailed" and request in sizes:
                raise ServiceError(f"a request of {url} failed: {message['params']['errorText']}")
            else:
                continue
            quiet = time.monotonic()
        if None in sizes.values():
            quiet = time.monotonic()
        if quiet - began > LOADED_S:
            raise ServiceError(f"{url} is not loaded within {LOADED_S:g} s")
        time.sleep(0.05)
    return len(sizes), sum(filter(None, sizes.values()))


def _click_lines(driver: Any, url: str, clicks: int, label: str) -> list[BenchLine]:
    """Clicks on one word after the other, each from the event to the end of the frame that shows it; between them as
    many where nothing happens, which is what browser and machine take for themselves."""
    driver.get(url)
    _wait(driver, "return document.getElementById('medinterp').dataset.state === 'read'")
    count = int(driver.execute_script("return document.querySelectorAll('.medinterp-word').length"))
    _click(driver, _WORD.format(0))
    _wait(driver, f"{_DRAWN} > 0")
    driver.execute_script(_WATCH)
    _settle(driver)
    _messages(driver)
    drawn = int(driver.execute_script(_DRAWN))
    for at in range(clicks):
        for kind, place in (("words", _WORD.format((7 * at + 1) % count)), ("nothing", _NOTHING)):
            _click(driver, place)
            _wait(driver, f"return window.measured.{kind}.length > {at}")
            _settle(driver)
    times = {kind: np.array(values) for kind, values in driver.execute_script("return window.measured").items()}
    words, nothing = times["words"], times["nothing"]
    more = int(driver.execute_script(_DRAWN)) - drawn
    if len(words) != clicks or more < clicks:
        raise ServiceError(f"{clicks} clicks were painted {len(words)} times, with {more} maps")
    asked = sum(_asks(message) for message in _messages(driver))
    told = {"median": np.median(words), "p95": np.quantile(words, 0.95), "longest": words.max()}
    return [
        *(
            _line(f"click to painted, {name} of {clicks} / a frame ({label})", FRAME_MS, round(float(value), 2), "ms")
            for name, value in told.items()
        ),
        _line(
            f"click on a word to painted / on nothing, medians ({label})",
            round(float(np.median(nothing)), 2),
            round(float(np.median(words)), 2),
            "ms",
        ),
        _line(f"what {clicks} clicks ask of the server / clicks ({label})", clicks, asked, "requests"),
    ]


def _click(driver: Any, selector: str) -> None:
    """A press and a release of the mouse in the middle of an element."""
    x, y = driver.execute_script(_PLACE, selector)
    _settle(driver)
    for kind in ("mousePressed", "mouseReleased"):
        event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
        driver.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def _settle(driver: Any) -> None:
    """Two frames, after which nothing of a former step is left to be drawn."""
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(() => arguments[0]()))")


def _wait(driver: Any, script: str, seconds: float = 60.0) -> None:
    """Until the script returns something true. Raises ServiceError where it does not."""
    deadline = time.monotonic() + seconds
    while not driver.execute_script(script):
        if time.monotonic() > deadline:
            raise ServiceError(f"the page did not come so far within {seconds:g} s: {script}")
        time.sleep(0.005)


def _messages(driver: Any) -> list[Mapping[str, Any]]:
    """What the browser has said of its network since the last call."""
    return [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]


def _asks(message: Mapping[str, Any]) -> bool:
    """Whether it is a request that leaves the browser."""
    if message["method"] != "Network.requestWillBeSent":
        return False
    return urlsplit(message["params"]["request"]["url"]).scheme in ("http", "https")


def _line(name: str, baseline: float, value: float, unit: str) -> BenchLine:
    return BenchLine(name, round(value / baseline, 4), baseline, value, unit)


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def _driver() -> Iterator[Any]:
    """A headless Chromium with a window of WINDOW pixels and a profile of its own."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    profile = Path(tempfile.mkdtemp(prefix="bench-browser-"))
    options = webdriver.ChromeOptions()
    options.binary_location = _browser() or ""
    for argument in (*_ARGUMENTS, f"--window-size={WINDOW[0]},{WINDOW[1]}", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        metrics = {"width": WINDOW[0], "height": WINDOW[1], "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_cdp_cmd("Network.enable", {})
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)
