"""Headless Chromium for tests of the page, and what every such test does with it.

    from tests.browser import browser, serve  # noqa: F401 - pytest finds fixtures by name

A test is skipped where there is no Chromium, unless MEDINTERP_REQUIRE_ALL=1: then it fails.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pytest
import uvicorn
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from starlette.types import ASGIApp

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,900",
)
OWN_SCHEMES = ("http", "https", "ws", "wss")
"""Schemes that leave the browser; blob: and data: do not."""


class Page:
    """The page in a browser: elements by the ids that app.js documents, and the usual steps."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def come(self, url: str) -> None:
        """Load an address that may hold a report, in a page of its own."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def open(self, url: str) -> None:
        """Load the page and wait until the model, the methods and the examples are there."""
        self.logs()  # what an earlier page left behind
        self.driver.get(url)
        self.wait("return document.querySelector('#medinterp-method option') !== null")
        self.wait("return document.querySelector('#medinterp-example-0') !== null")
        self.wait("return document.querySelector('#medinterp-prompt').value !== ''")

    def element(self, name: str) -> WebElement:
        """The element #medinterp-NAME."""
        return self.driver.find_element(By.ID, f"medinterp-{name}")

    def text(self, name: str) -> str:
        """Its visible text."""
        return self.element(name).text

    def run(self, script: str, *arguments: object) -> object:
        """Run JavaScript; the value that it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 20.0) -> object:
        """Wait until the script returns something true, and return that."""
        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(
            lambda _: self.run(script), message=script
        )

    @property
    def state(self) -> str:
        """empty, chosen, reading or read."""
        return str(self.run("return document.getElementById('medinterp').dataset.state"))

    def wait_state(self, state: str, seconds: float = 60.0) -> None:
        """Wait until the page is in that state."""
        self.wait(f"return document.getElementById('medinterp').dataset.state === '{state}'", seconds)

    def upload(self, film: Path) -> None:
        """Choose a film by the file field, and wait until the button can be pressed."""
        self.element("file").send_keys(str(film))
        self.wait_state("chosen")

    def read(self, seconds: float = 60.0) -> None:
        """Press "Read film" and wait for the whole report."""
        self.element("read").click()
        self.wait_state("read", seconds)

    def word(self, index: int) -> WebElement:
        """Word `index` of the report."""
        return self.driver.find_element(By.CSS_SELECTOR, f'.medinterp-word[data-word-index="{index}"]')

    @property
    def painted(self) -> int:
        """How often a map was painted so far."""
        return int(str(self.run("return document.getElementById('medinterp-overlay').dataset.drawn ?? 0")))

    def wait_overlay(self, other_than: int = -1) -> int:
        """Wait until a map is to be seen that was painted later than that; how often one was painted."""
        self.wait(
            "const o = document.getElementById('medinterp-overlay');"
            f"return o.checkVisibility() && o.width > 0 && Number(o.dataset.drawn ?? 0) > {other_than}"
        )
        return self.painted

    def film_place(self) -> list[float]:
        """Where the film lies on its canvas: left, top, width, height in the canvas' pixels."""
        place = self.run(
            "const { style } = document.getElementById('medinterp-marks');"
            "const canvas = document.getElementById('medinterp-film');"
            "const density = canvas.width / canvas.clientWidth;"
            "return ['left', 'top', 'width', 'height'].map((side) => parseFloat(style[side]) * density)"
        )
        assert isinstance(place, list)
        return place

    def pixels(self, name: str, width: int, height: int, place: list[float] | None = None) -> list[int]:
        """RGBA of what of a canvas lies on the film, drawn at width x height: width * height * 4 numbers.

        name: film or overlay (or another with its own place).
        """
        script = """
            const [name, width, height, place] = arguments;
            const canvas = document.createElement("canvas");
            Object.assign(canvas, { width, height });
            const context = canvas.getContext("2d");
            context.drawImage(document.getElementById(`medinterp-${name}`), ...place, 0, 0, width, height);
            return Array.from(context.getImageData(0, 0, width, height).data);
        """
        values = self.run(script, name, width, height, place or self.film_place())
        assert isinstance(values, list)
        return values

    def canvas(self, name: str) -> npt.NDArray[np.uint8]:
        """All of a canvas, uint8 [height, width, 4]."""
        data = str(self.run(f"return document.getElementById('medinterp-{name}').toDataURL('image/png')"))
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2]))).convert("RGBA"))

    def overlay_pixels(self) -> list[int]:
        """The map as it is seen on the film, small."""
        return self.pixels("overlay", 30, 36)

    def requests(self) -> list[str]:
        """Addresses asked of a machine since the logs were read last."""
        return [url for url in self.logs()[1] if urlsplit(url).scheme in OWN_SCHEMES]

    @contextlib.contextmanager
    def asks_nothing(self) -> Iterator[None]:
        """What is done meanwhile asks nothing of any machine; an error on the console is one here too."""
        self.logs()
        yield
        self.run("return new Promise((resume) => requestAnimationFrame(() => setTimeout(resume, 50)))")
        console, requests = self.logs()
        assert console == [], console
        assert [url for url in requests if urlsplit(url).scheme in OWN_SCHEMES] == []

    def resize(self, width: int, height: int, *, phone: bool = False) -> None:
        """Give the page a viewport of that many CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def logs(self) -> tuple[list[str], list[str]]:
        """Console messages of warnings and errors, and every address asked for, since the last call."""
        console = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        requests = []
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                requests.append(str(message["params"]["request"]["url"]))
            elif message["method"] == "Network.webSocketCreated":
                requests.append(str(message["params"]["url"]))
        return console, requests


def foreign_requests(requests: list[str]) -> list[str]:
    """Those of the addresses that are not on this machine."""
    parts = [(url, urlsplit(url)) for url in requests]
    return [url for url, part in parts if part.scheme in OWN_SCHEMES and part.hostname != "127.0.0.1"]


@contextlib.contextmanager
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with a profile of its own."""
    if not (CHROMIUM.exists() and CHROMEDRIVER.exists()):
        if os.environ.get("MEDINTERP_REQUIRE_ALL") == "1":
            pytest.fail("Chromium and its driver are missing, and MEDINTERP_REQUIRE_ALL=1")
        pytest.skip("needs /usr/bin/chromium and /usr/bin/chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path_factory.mktemp("downloads"))}
    )
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One headless Chromium for all tests."""
    with started(tmp_path_factory) as driver:
        yield driver


@pytest.fixture
def other_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page in a Chromium of its own, which knows nothing of the other: another reader's."""
    with started(tmp_path_factory) as driver:
        page = Page(driver)
        page.resize(1440, 900)
        yield page


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[Page]:
    """A page at 1440 x 900; left empty afterwards, so that its streams end."""
    page = Page(chromium)
    page.resize(1440, 900)
    yield page
    chromium.get("about:blank")


@contextlib.contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Run an application on a free port of 127.0.0.1 in a thread; its address, ending in a slash."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the test server did not start")
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        assert not thread.is_alive(), "the test server did not stop"
