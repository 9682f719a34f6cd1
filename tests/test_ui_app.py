"""The page's application without a browser: addresses, headers, what it refuses."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from medinterp.phantom import ExampleFilm
from medinterp.ui import app as ui_app
from medinterp.ui import create_app


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application with two example films."""
    films = (
        ExampleFilm("one", "Nodule, left upper zone.", b"PNG 1"),
        ExampleFilm("two", "No finding.", b"PNG 2"),
    )
    monkeypatch.setattr("medinterp.phantom.example_films", lambda: films)
    ui_app.example_pngs.cache_clear()
    with TestClient(create_app(api_root="/v1")) as client:
        yield client
    ui_app.example_pngs.cache_clear()


def test_page_holds_our_html(client: TestClient) -> None:
    """The page's HTML and the API's root are in what Gradio draws; analytics are off."""
    page = client.get("/")
    assert page.status_code == 200
    assert 'data-api-root=\\"/v1\\"' in page.text or "data-api-root=\\u0022/v1" in page.text
    assert '"analytics_enabled":false' in page.text
    assert "Research use only, not for diagnosis." in page.text


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/page/style.css", "/examples/0.png", "/theme.css"])
def test_headers(client: TestClient, path: str) -> None:
    """Every answer forbids other hosts, sniffing and referrers, and is asked for anew."""
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


def test_examples(client: TestClient) -> None:
    """The list names each film's picture; a number beyond it is not found."""
    films = client.get("/examples").json()["examples"]
    assert films[1] == {"name": "two", "caption": "No finding.", "url": "examples/1.png"}
    picture = client.get("/" + films[1]["url"])
    assert picture.content == b"PNG 2"
    assert picture.headers["content-type"] == "image/png"
    assert client.get("/examples/2.png").status_code == 404


def test_colour_key_is_the_overlay_s_own_table(client: TestClient) -> None:
    """The key is drawn from the table that overlays are drawn with, lowest value on the left."""
    from medinterp.render import colormap

    strip = Image.open(io.BytesIO(client.get("/colormaps/cividis.png").content))
    assert strip.size == (256, 1)
    assert strip.getpixel((0, 0)) == tuple(colormap("cividis")[0])
    assert strip.getpixel((255, 0)) == tuple(colormap("cividis")[255])
    assert client.get("/colormaps/nonsense.png").status_code == 404


def test_every_colour_map_of_the_page_exists() -> None:
    """The choices written in the page are names that the renderer knows."""
    from medinterp.render import DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap

    html = (ui_app.STATIC / "page.html").read_text(encoding="utf-8")
    select = html[html.index('id="medinterp-colormap"') :]
    names = re.findall(r'<option value="(\w*)"', select[: select.index("</select>")])
    assert names[0] == ""
    assert {DEFAULT_COLORMAP, SIGNED_COLORMAP} <= set(names)
    for name in names[1:]:
        assert colormap(name).shape == (256, 3)


@pytest.mark.parametrize("route", ["upload", "component_server", "process_recording", "login", "queue/join", "x"])
def test_the_page_takes_nothing(
    client: TestClient, route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio's own routes would write files, and the names that they are sent under, to a disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for path in (f"/gradio_api/{route}", f"/gradio_api/{route}/", f"/{route}"):
        for content in (b"", b"1", b"x" * 3_000_000):
            answer = client.post(path, files={"files": ("Miller.dcm", content)}, data={"username": "a"})
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET, HEAD"
            assert "Content-Security-Policy" in answer.headers
        assert client.put(path, content=b"x").status_code == 405
    assert list(tmp_path.iterdir()) == []


def test_no_file_outside_the_page_is_served(client: TestClient) -> None:
    """Neither the package's sources nor the machine's files."""
    assert client.get("/page/../app.py").status_code == 404
    assert client.get("/page/%2e%2e/app.py").status_code == 404
    assert client.get("/gradio_api/file=/etc/hostname").status_code in (403, 404)


@pytest.mark.parametrize("root", ["https://elsewhere.example/v1", "//elsewhere.example", "v1", ""])
def test_api_is_on_the_same_host(root: str) -> None:
    """The page cannot be pointed at another host."""
    with pytest.raises(ValueError, match="path on the page's own host"):
        create_app(api_root=root)
