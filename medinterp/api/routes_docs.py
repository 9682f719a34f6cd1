"""/v1/docs: the OpenAPI document to read, drawn by a page of our own; nothing is loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs.css": ("docs.css", "text/css; charset=utf-8"),
}
"""Below /docs."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def docs_routes() -> APIRouter:
    """Build the routes."""
    router = APIRouter(prefix="/docs", include_in_schema=False)
    directory = Path(__file__).with_name("docs")
    for place, (name, media_type) in FILES.items():
        _serve(router, place, (directory / name).read_bytes(), media_type)
    return router


def _serve(router: APIRouter, place: str, content: bytes, media_type: str) -> None:
    @router.get(place)
    async def file() -> Response:
        return Response(content, media_type=media_type, headers={"Content-Security-Policy": POLICY})
