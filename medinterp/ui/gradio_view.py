"""The Gradio view: the reading room in a frame, for those who embed or open the page as a Gradio app."""

from __future__ import annotations

import asyncio

import gradio as gr
from fastapi import FastAPI

TITLE = "medinterp"
PATH = "/gradio"
GROUND = "#0b0d0f"
"""Background before the frame has arrived; the same as in base.css."""
FRAME = """\
<iframe src="../" title="medinterp: the reading room" allow="clipboard-write"
 style="display: block; width: 100%; height: 100vh; height: 100dvh; border: 0"></iframe>
"""
CSS = """\
.gradio-container, .gradio-container > .main, .gradio-container .wrap, .gradio-container main.contain,
.gradio-container .column, .gradio-container .block, .gradio-container .html-container {
  max-width: none !important; margin: 0 !important; padding: 0 !important; gap: 0 !important; border: 0 !important;
}
"""


def mount_gradio(app: FastAPI) -> None:
    """Mount the view at PATH of the application; the page itself has to be at "/".

    Gradio makes locks and events while it builds a view, and where no event loop runs it makes a
    loop for each and never closes it: it is given one.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(_mount_in_loop(app))
        finally:
            loop.close()
    else:
        _mount(app)


async def _mount_in_loop(app: FastAPI) -> None:
    """The same, as a coroutine."""
    _mount(app)


def _mount(app: FastAPI) -> None:
    """Build the view and mount it; a running event loop is needed.

    It has no events: the page talks to the HTTP API. System fonts only; no server-side rendering,
    run history, file access or footer. Gradio's own routes that take something are not reached (readonly.ReadOnly).
    """
    with gr.Blocks(analytics_enabled=False, title=TITLE, fill_width=True) as blocks:
        gr.HTML(FRAME, apply_default_css=False, js_on_load=None, padding=False)
    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")).set(
        body_background_fill=GROUND, body_background_fill_dark=GROUND
    )
    gr.mount_gradio_app(
        app,
        blocks,
        path=PATH,
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
        css=CSS,
        head='<meta name="referrer" content="no-referrer">',
    )
