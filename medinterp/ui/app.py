"""The page as a web application: the Gradio view at "/", our own files and the example films beside it."""

from __future__ import annotations

import functools
from http import HTTPStatus
from pathlib import Path

from fastapi import FastAPI, HTTPException, Response
from fastapi.staticfiles import StaticFiles

from medinterp.ui.headers import PageHeaders
from medinterp.ui.page import mount_page
from medinterp.ui.readonly import ReadOnly

STATIC = Path(__file__).parent / "static"
"""The page's HTML, CSS and JavaScript, served as they stand: there is no build step."""

KEY_WIDTH, KEY_HEIGHT = 256, 1
"""Pixels of a colour key: one for each entry of the colour table."""


def create_app(*, api_root: str = "/v1") -> FastAPI:
    """Make the application that serves the page; the browser finds the HTTP API under `api_root`.

    `api_root` is a path on the same host. Raises ValueError when it is anything else: the page's
    Content-Security-Policy lets it talk to its own host only.
    """
    if not api_root.startswith("/") or api_root.startswith("//"):
        raise ValueError(f"api_root is a path on the page's own host, e.g. /v1, not {api_root!r}")
    app = FastAPI(title="medinterp page", openapi_url=None)
    app.add_middleware(ReadOnly)
    app.add_middleware(PageHeaders)
    app.mount("/page", StaticFiles(directory=STATIC), name="page")

    @app.get("/examples")
    def examples() -> dict[str, list[dict[str, str]]]:
        """Name, caption and address (relative to the page) of every example film."""
        films = example_pngs()
        return {
            "examples": [
                {"name": name, "caption": caption, "url": f"examples/{k}.png"}
                for k, (name, caption, _) in enumerate(films)
            ]
        }

    @app.get("/examples/{k}.png")
    def example(k: int) -> Response:
        """One example film as PNG."""
        films = example_pngs()
        if not 0 <= k < len(films):
            raise HTTPException(HTTPStatus.NOT_FOUND, f"there are {len(films)} example films, counted from 0")
        return Response(films[k][2], media_type="image/png")

    @app.get("/colormaps/{name}.png")
    def colour_key(name: str) -> Response:
        """A colour table as a strip of 256 x 1 pixels, lowest value on the left."""
        try:
            strip = colour_strip(name)
        except ValueError as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error
        return Response(strip, media_type="image/png")

    mount_page(app, (STATIC / "page.html").read_text(encoding="utf-8").replace("${api_root}", api_root))
    return app


@functools.cache
def example_pngs() -> tuple[tuple[str, str, bytes], ...]:
    """Name, caption and PNG bytes of the synthetic example films, drawn once per process."""
    from medinterp.phantom import example_films

    return tuple((film.name, film.caption, film.png) for film in example_films())


@functools.cache
def colour_strip(name: str) -> bytes:
    """PNG of the colour table that overlays are drawn with. Raises ValueError for an unknown name."""
    from medinterp.render import colormap, encode_png

    return encode_png(colormap(name).reshape(KEY_HEIGHT, KEY_WIDTH, 3))
