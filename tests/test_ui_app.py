"""The page's application without a browser: addresses, headers, what it refuses."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from medinterp.phantom import ExampleFilm
from medinterp.ui import app as ui_app
from medinterp.ui import create_app


def small_png(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, 30), 90).save(buffer, "PNG")
    return buffer.getvalue()


FILMS = (
    ExampleFilm("one", "Nodule, left upper zone.", small_png(200)),
    ExampleFilm("two", "No finding.", small_png(60)),
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The application with two example films."""
    monkeypatch.setattr("medinterp.phantom.example_films", lambda: FILMS)
    for cached in (ui_app.example_pngs, ui_app.thumbnail):
        cached.cache_clear()
    with TestClient(create_app()) as client:
        yield client
    for cached in (ui_app.example_pngs, ui_app.thumbnail):
        cached.cache_clear()


def settings_of(page: str) -> dict[str, Any]:
    """What the document was made with."""
    found = re.search(r'<script type="application/json" id="medinterp-settings-data">(.*?)</script>', page)
    assert found is not None
    settings = json.loads(found[1])
    assert isinstance(settings, dict)
    return settings


def test_the_page_is_one_document(client: TestClient) -> None:
    """Markup, style, script and tables: nothing is asked for beside it but the API and the examples."""
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert settings_of(page.text)["apiRoot"] == "v1"
    assert "Research use only, not for diagnosis." in page.text
    assert re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page.text) == []
    assert "gradio" not in page.text.lower()


def test_its_policy_allows_its_own_script_and_style_alone(client: TestClient) -> None:
    """By their hashes; and no other host."""
    page = client.get("/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'", "the Gradio view shows it in a frame"
    script = page.text.rpartition("<script>")[2].partition("</script>")[0]
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[name] == f"'sha256-{digest}'"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("br, gzip", "br"), ("gzip, deflate", "gzip"), ("br;q=0, gzip", "gzip"), ("identity", None)],
)
def test_it_comes_compressed_and_once(client: TestClient, accepted: str, encoding: str | None) -> None:
    """As the browser takes it; a browser that has it is told so."""
    page = client.get("/", headers={"Accept-Encoding": accepted})
    assert page.headers.get("content-encoding") == encoding
    assert page.headers["vary"] == "Accept-Encoding"
    assert page.text.startswith("<!doctype html>")
    assert len(page.content) > 100_000
    if encoding:
        assert int(page.headers["content-length"]) < 0.4 * len(page.content)
    again = client.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["content-security-policy"] == page.headers["content-security-policy"]
    assert client.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_the_gradio_view_shows_the_same_page(client: TestClient) -> None:
    """In a frame; analytics are off."""
    view = client.get("/gradio/")
    assert view.status_code == 200
    assert '"analytics_enabled":false' in view.text
    assert 'src=\\"../\\"' in view.text or "src=\\u0022../\\u0022" in view.text
    assert "Doe" not in view.text


@pytest.mark.parametrize("path", ["/", "/examples", "/examples/0.png", "/gradio/", "/gradio/theme.css", "/nothing"])
def test_headers(client: TestClient, path: str) -> None:
    """Every answer forbids other hosts, sniffing and referrers, and is asked for anew."""
    headers = client.get(path).headers
    assert re.match("default-src '(none|self)'", headers["content-security-policy"])
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-cache"


def test_examples(client: TestClient) -> None:
    """The list names each film's picture and holds a small one; a number beyond it is not found."""
    films = client.get("/examples").json()["examples"]
    small = [film.pop("thumbnail") for film in films]
    assert films[1] == {"name": "two", "caption": "No finding.", "url": "examples/1.png"}
    sizes = []
    for address in small:
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
        sizes.append(Image.open(io.BytesIO(base64.b64decode(data))).size)
    assert sizes == [(96, 14), (60, 30)], "no side is longer than 96 pixels, and none is made larger"
    picture = client.get("/" + films[1]["url"])
    assert picture.content == FILMS[1].png
    assert picture.headers["content-type"] == "image/png"
    assert client.get("/examples/2.png").status_code == 404


def test_colour_tables_are_the_overlays_own(client: TestClient) -> None:
    """The page draws with the tables that the server draws with."""
    from medinterp.render import COLORMAPS, CONTOUR_LEVELS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap

    settings = settings_of(client.get("/").text)
    assert set(settings["colormaps"]) == set(COLORMAPS)
    for name, data in settings["colormaps"].items():
        assert base64.b64decode(data) == colormap(name).tobytes()
    assert settings["defaults"] == {"plain": DEFAULT_COLORMAP, "signed": SIGNED_COLORMAP}
    assert settings["contourLevels"] == list(CONTOUR_LEVELS)


def test_every_colour_map_of_the_page_exists(client: TestClient) -> None:
    """The choices written in the page are names that the renderer knows, and all of them."""
    from medinterp.render import COLORMAPS

    html = client.get("/").text
    select = html[html.index('id="medinterp-colormap"') :]
    names = re.findall(r'<option value="(\w*)"', select[: select.index("</select>")])
    assert names[0] == ""
    assert sorted(names[1:]) == sorted(COLORMAPS)


@pytest.mark.parametrize("route", ["upload", "component_server", "process_recording", "login", "queue/join", "x"])
def test_the_page_takes_nothing(
    client: TestClient, route: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio's own routes would write files, and the names that they are sent under, to a disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for path in (f"/gradio/gradio_api/{route}", f"/gradio/gradio_api/{route}/", f"/gradio/{route}", f"/{route}"):
        for content in (b"", b"1", b"x" * 3_000_000):
            answer = client.post(path, files={"files": ("Miller.dcm", content)}, data={"username": "a"})
            assert answer.status_code == 405
            assert answer.headers["allow"] == "GET, HEAD"
            assert "Content-Security-Policy" in answer.headers
        assert client.put(path, content=b"x").status_code == 405
    assert list(tmp_path.iterdir()) == []


def test_no_file_outside_the_page_is_served(client: TestClient) -> None:
    """Neither the package's sources nor the machine's files."""
    assert client.get("/page/app.js").status_code == 404
    assert client.get("/examples/../app.py").status_code == 404
    assert client.get("/examples/%2e%2e/app.py").status_code == 404
    assert client.get("/gradio/gradio_api/file=/etc/hostname").status_code in (403, 404)


def test_gradio_keeps_nothing_that_others_could_read(client: TestClient, tmp_path: Path) -> None:
    """No run history, no monitoring, no endpoints; a file in its own cache is read by nobody."""
    view = client.get("/gradio/").text
    assert '"analytics_enabled":false' in view
    assert client.get("/gradio/gradio_api/runs").status_code == 404
    assert client.get("/gradio/monitoring").status_code == 403
    assert client.get("/gradio/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    cached = Path(tempfile.gettempdir()) / "gradio" / tmp_path.name
    cached.mkdir(parents=True, exist_ok=True)
    try:
        (cached / "film.png").write_bytes(b"a patient's film")
        answer = client.get(f"/gradio/gradio_api/file={cached / 'film.png'}")
    finally:
        shutil.rmtree(cached)
    assert answer.status_code == 404
    assert b"a patient's film" not in answer.content


@pytest.mark.parametrize("root", ["https://elsewhere.example/v1", "//elsewhere.example", "../v1/", "", "v1 ", "/v1/"])
def test_api_is_on_the_same_host(root: str) -> None:
    """The page cannot be pointed at another host."""
    with pytest.raises(ValueError, match="path on the page's own host"):
        create_app(api_root=root)
