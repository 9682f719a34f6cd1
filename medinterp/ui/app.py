"""The page as a web application: the reading room at "/", the same in a Gradio view at "/gradio", the example films."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.responses import PlainTextResponse

from medinterp.stages import NO_TELEMETRY
from medinterp.ui import framing
from medinterp.ui.gradio_view import mount_gradio
from medinterp.ui.headers import PageHeaders
from medinterp.ui.packed import Packed
from medinterp.ui.readonly import ReadOnly
from medinterp.view import document
from medinterp.web.heads import HeadAsGet
from medinterp.web.peers import Hosts, Peers
from medinterp.web.request_id import RequestIds

API_ROOT = re.compile(r"/?[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*")
"""A path on the page's own host; from its root on, or from the page's own address on."""
THUMBNAIL = 96
"""Pixels of the longer side of an example film in the list."""
THUMBNAIL_QUALITY = 80
"""Of the JPEG."""


def create_app(
    *,
    api_root: str = "v1",
    frame_ancestors: Sequence[str] = ("self",),
    allowed_hosts: Sequence[str] = ("*",),
    trusted_proxies: Sequence[str] = (),
) -> FastAPI:
    """Make the application that serves the page; the browser finds the HTTP API under `api_root`.

    `api_root` is a path on the same host: "v1" from the page's own address on, as a proxy has it, "/v1" from the
    host's root on. frame_ancestors: who may frame the page (framing.py); allowed_hosts and trusted_proxies as
    medinterp.web.peers has them. Raises ValueError when one of them is anything else: the page's
    Content-Security-Policy lets it talk to its own host only.
    """
    if not API_ROOT.fullmatch(api_root):
        raise ValueError(f"api_root is a path on the page's own host, e.g. v1 or /v1, not {api_root!r}")
    ancestors = framing.frame_ancestors(frame_ancestors)
    app = FastAPI(title="medinterp page", openapi_url=None, telemetry=NO_TELEMETRY)
    app.add_middleware(ReadOnly)
    app.add_middleware(PageHeaders, ancestors=ancestors)
    app.add_middleware(Hosts, allowed=tuple(allowed_hosts), peers=Peers(trusted_proxies), refuse=_refusal)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestIds)
    page = document(api_root)
    packed = Packed(page.html.encode())
    tag = f'"{hashlib.sha256(page.html.encode()).hexdigest()[:32]}"'

    @app.get("/")
    def room(request: Request) -> Response:
        """The page: one document, compressed once."""
        policy = f"{page.policy}; {ancestors}"
        headers = {"ETag": tag, "Content-Security-Policy": policy, "Vary": "Accept-Encoding"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        encoding, content = packed.best(request.headers.get("accept-encoding", ""))
        if encoding:
            headers["Content-Encoding"] = encoding
        return Response(content, media_type="text/html; charset=utf-8", headers=headers)

    @app.get("/examples")
    def examples() -> dict[str, list[dict[str, str]]]:
        """Name, caption, address (relative to the page) and a small picture of every example film."""
        films = example_pngs()
        return {
            "examples": [
                {"name": name, "caption": caption, "url": f"examples/{k}.png", "thumbnail": thumbnail(k)}
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

    mount_gradio(app)
    return app


def _refusal(status: HTTPStatus, told: str) -> Response:
    return PlainTextResponse(told, status)


@functools.cache
def example_pngs() -> tuple[tuple[str, str, bytes], ...]:
    """Name, caption and PNG bytes of the synthetic example films, drawn once per process."""
    from medinterp.phantom import example_films

    return tuple((film.name, film.caption, film.png) for film in example_films())


@functools.cache
def thumbnail(k: int) -> str:
    """Example film `k` as a data: address of a small JPEG."""
    import cv2
    import numpy as np

    film = cv2.imdecode(np.frombuffer(example_pngs()[k][2], np.uint8), cv2.IMREAD_GRAYSCALE)
    if film is None:
        raise ValueError(f"example film {k} is no picture")
    factor = min(1.0, THUMBNAIL / max(film.shape))
    small = cv2.resize(film, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
