"""Signing in on the page, before the real door; and the page below a proxy's prefix, nginx where it is installed."""

# ruff: noqa: F811 - fixtures are imported, and named again where they are used

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.keys import Keys
from starlette.types import Receive, Scope, Send

from medinterp.api.access.keys import KeyList, write_keys
from medinterp.api.access.settings import AccessSettings
from medinterp.ui import create_app
from tests.api_access import guarded
from tests.api_backend import png
from tests.api_service import Service
from tests.axe import axe_script
from tests.browser import Page, browser, chromium, serve  # noqa: F401 - fixtures
from tests.page_api import together
from tests.page_fixtures import fake_films  # noqa: F401 - fixtures
from tests.served import free_port
from tests.test_ui_access import faults

LOCAL = ["127.0.0.1", "localhost"]
ASKED = "const dialog = document.getElementById('medinterp-sign-in'); return dialog.open"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """A film within the limits of this test's service."""
    path = tmp_path / "film.png"
    path.write_bytes(png(160, 130))
    return path


def cookies(page: Page) -> list[dict[str, Any]]:
    """Those of every path."""
    found: list[dict[str, Any]] = page.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"]
    return found


def sign_in(page: Page, key: str) -> None:
    """Type the key and press Enter."""
    page.wait(ASKED)
    field = page.element("secret")
    field.clear()
    field.send_keys(key, Keys.ENTER)


def ready(page: Page) -> None:
    """Wait until the model is known."""
    page.wait("return document.querySelector('#medinterp-prompt').value !== ''")
    page.wait("return document.querySelector('#medinterp-method option') !== null")


@contextmanager
def page_before_the_door(directory: Path, **access: Any) -> Iterator[tuple[str, Service, dict[str, str]]]:
    """The page and the API on one address; the service, and its keys by name."""
    with (
        guarded(directory, allowed_hosts=LOCAL, **access) as (service, keys),
        serve(together(create_app(), service.app)) as url,
    ):
        yield url, service, keys


def test_the_page_signs_in_reads_and_signs_out(
    browser: Page, fake_films: None, film: Path, tmp_path: Path
) -> None:
    with page_before_the_door(tmp_path) as (url, service, keys):
        browser.driver.delete_all_cookies()
        browser.driver.get(url)
        browser.wait(ASKED)
        assert faults(browser, axe_script()) == []
        sign_in(browser, "mi_wrong")
        said = "return document.getElementById('medinterp-secret-said').textContent"
        browser.wait(f"{said} === 'This key does not hold here.'")
        assert not browser.element("sign-out").is_displayed()
        browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
        assert browser.run(ASKED)
        sign_in(browser, keys["ward"])
        ready(browser)
        assert not browser.run(ASKED)
        browser.wait("return document.getElementById('medinterp-sign-out').checkVisibility()")
        assert browser.element("sign-out").get_attribute("title") == "Signed in as ward"
        (cookie,) = cookies(browser)
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/v1")
        kept = "[document.cookie, {...localStorage}, {...sessionStorage}, document.body.innerHTML]"
        seen = str(browser.run(f"return JSON.stringify({kept})"))
        assert keys["ward"] not in seen and cookie["value"] not in seen

        browser.upload(film)
        browser.read()
        browser.word(0).click()
        browser.wait_overlay()

        browser.driver.refresh()  # by the cookie alone
        browser.wait_state("read")
        assert not browser.run(ASKED)

        browser.element("sign-out").click()
        browser.wait(ASKED)
        assert cookies(browser) == []
        assert browser.state == "empty" and browser.run("return location.hash") == ""
        sign_in(browser, keys["clinic"])
        ready(browser)
        browser.driver.get("about:blank")
    assert [visit.prompt for visit in service.backend.tasks] != []


def test_a_key_that_was_taken_back_is_asked_for_again(
    browser: Page, fake_films: None, film: Path, tmp_path: Path
) -> None:
    """And what was asked meanwhile goes on from there."""
    with page_before_the_door(tmp_path) as (url, service, keys):
        browser.driver.get(url)
        sign_in(browser, keys["ward"])
        ready(browser)
        browser.upload(film)
        path = tmp_path / "keys.json"
        kept = path.read_text()
        write_keys(path, KeyList())
        browser.element("read").click()
        browser.wait(ASKED)
        assert service.backend.tasks == []
        path.write_text(kept)
        sign_in(browser, keys["clinic"])
        browser.wait_state("read")
        assert len(service.backend.tasks) == 1
        browser.driver.get("about:blank")


def test_nobody_is_asked_where_no_key_is_wanted(browser: Page, fake_films: None, tmp_path: Path) -> None:
    service = Service(tmp_path, access=AccessSettings(allowed_hosts=tuple(LOCAL)))
    with service.client, serve(together(create_app(), service.app)) as url:
        browser.open(url)
        assert not browser.run(ASKED) and not browser.element("sign-out").is_displayed()
        browser.driver.get("about:blank")


class Below:
    """A proxy that serves an application below a prefix, and takes it off, telling nobody."""

    def __init__(self, app: Any, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert scope["path"].startswith(f"{self._prefix}/"), scope["path"]
            path = scope["path"].removeprefix(self._prefix)
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def use_it(page: Page, url: str, key: str, film: Path) -> None:
    """Sign in, read, look at a word, by the address of the page."""
    page.driver.get(url)
    sign_in(page, key)
    ready(page)
    page.wait("return document.querySelector('#medinterp-example-7') !== null")
    page.upload(film)
    page.read()
    page.word(0).click()
    page.wait_overlay()


def test_below_a_prefix_that_is_taken_off(browser: Page, fake_films: None, film: Path, tmp_path: Path) -> None:
    with (
        guarded(tmp_path, allowed_hosts=LOCAL) as (service, keys),
        serve(Below(together(create_app(), service.app), "/dept/x-ray")) as url,
    ):
        use_it(browser, f"{url.rstrip('/')}/dept/x-ray/", keys["ward"], film)
        assert "/dept/x-ray/v1" in {one["path"] for one in cookies(browser)}
        browser.driver.get("about:blank")


@contextmanager
def nginx(directory: Path, upstream: str) -> Iterator[str]:
    """nginx with the service below /dept/x-ray, and a limit of 100 kB for a body; its address."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(program).exists():
        pytest.skip("nginx is not installed")
    port = free_port()
    config = directory / "nginx.conf"
    temporary = "\n".join(
        f"{name}_temp_path {directory}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off; pid {directory}/nginx.pid; error_log {directory}/error.log;
        events {{}}
        http {{
          access_log off; {temporary}
          server {{
            listen 127.0.0.1:{port};
            client_max_body_size 100k;
            location /dept/x-ray/ {{ proxy_pass {upstream.rstrip("/")}/; proxy_buffering off; }}
          }}
        }}
        """
    )
    process = subprocess.Popen([program, "-c", str(config), "-e", str(directory / "error.log"), "-p", str(directory)])
    try:
        for _ in range(100):
            try:
                httpx.get(f"http://127.0.0.1:{port}/", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/dept/x-ray/"
    finally:
        process.terminate()
        process.wait(10)


def test_behind_nginx(browser: Page, fake_films: None, film: Path, tmp_path: Path) -> None:
    """Below a prefix, and what nginx refuses itself is explained."""
    with page_before_the_door(tmp_path) as (upstream, _, keys), nginx(tmp_path, upstream) as url:
        use_it(browser, url, keys["ward"], film)
        # The service's own limit, which the page checks first, is 100,000 bytes in this test.
        browser.run(
            "window.fetch = ((fetch) => (path, options) => { if (options?.body instanceof FormData)"
            " options.body.append('prompt', 'x'.repeat(150_000)); return fetch(path, options); })(fetch)"
        )
        browser.element("read").click()
        browser.wait("return !document.getElementById('medinterp-error').hidden")
        assert "client_max_body_size" in browser.text("error")
        answer = httpx.get(f"{url}v1/reports/{'0' * 32}", headers={"Authorization": f"Bearer {keys['ward']}"})
        assert answer.status_code == 404 and answer.json()["request_id"] == answer.headers["x-request-id"]
        made = httpx.post(
            f"{url}v1/reports",
            files={"image": film.read_bytes()},
            headers={"Authorization": f"Bearer {keys['ward']}"},
        )
        assert made.status_code == 201
        followed = httpx.URL(f"{url}v1/reports").join(made.headers["location"])
        seen = httpx.get(followed, headers={"Authorization": f"Bearer {keys['ward']}"})
        assert seen.status_code == 200 and seen.json()["id"] == made.json()["id"]
        browser.driver.get("about:blank")
