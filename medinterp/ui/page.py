"""The Gradio view: one HTML block that holds our page, and nothing that phones home."""

from __future__ import annotations

import asyncio

import gradio as gr
from fastapi import FastAPI

TITLE = "medinterp"
GROUND = "#0b0d0f"
"""Background before the style sheet has arrived; the same as in style.css."""

HEAD = """\
<link rel="stylesheet" href="page/style.css">
<link rel="stylesheet" href="page/compare.css">
<link rel="stylesheet" href="page/film.css">
<link rel="stylesheet" href="page/findings.css">
<link rel="stylesheet" href="page/given.css">
<script type="module" src="page/app.js"></script>
<meta name="color-scheme" content="dark">
<meta name="referrer" content="no-referrer">
"""


def mount_page(app: FastAPI, html: str) -> None:
    """Mount the view around the page's HTML at "/" of the application.

    Gradio makes locks and events while it builds a view, and where no event loop runs it makes a
    loop for each and never closes it: it is given one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(_mount_in_loop(app, html))
        finally:
            loop.close()
    else:
        _mount(app, html)


async def _mount_in_loop(app: FastAPI, html: str) -> None:
    """The same, as a coroutine."""
    _mount(app, html)


def _mount(app: FastAPI, html: str) -> None:
    """Build the view and mount it; a running event loop is needed.

    It has no events: the page talks to the HTTP API. System fonts only; no server-side rendering,
    run history, file access or footer. Gradio's own routes that take something are not reached (readonly.ReadOnly).
    """
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True) as blocks:
        gr.HTML(html, apply_default_css=False, js_on_load=None, padding=False)
    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")).set(
        body_background_fill=GROUND, body_background_fill_dark=GROUND
    )
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=1,
        footer_links=[],
        theme=theme,
        head=HEAD,
    )
