"""The document: markup, style, script and colour tables, and the policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

from medinterp.render import COLORMAPS, CONTOUR_LEVELS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap
from medinterp.view.bundle import script, source

STYLES = ("base", "source", "stage", "report", "drawer", "compare", "narrow")
"""Style sheets in the order in which they overrule each other."""
TITLE = "medinterp"
DATA = "medinterp-data"
"""The id of the element that holds a report's own data."""


@dataclass(frozen=True)
class Document:
    """html: the whole page; policy: the Content-Security-Policy that it needs, and no more."""

    html: str
    policy: str


def document(
    api_root: str | None = None, *, title: str = TITLE, data: Mapping[str, Any] | None = None, plain: str = ""
) -> Document:
    """The page over the HTTP API under `api_root`, or, without one, over a report's own `data`.

    With `data` it asks nothing of any machine. plain: a text for readers whose browser runs no script; they see
    nothing else of a report. Raises ValueError unless exactly one of api_root and data is given.
    """
    if (api_root is None) == (data is None):
        raise ValueError("the page stands over an API or over a report's own data, one of the two")
    code, style = script("app"), "\n".join(source(f"{name}.css") for name in STYLES)
    own = "connect-src 'self'; img-src 'self' blob: data:" if data is None else "img-src blob: data:"
    policy = (
        f"default-src 'none'; {own}; "
        f"script-src {_digest(code)}; style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    )
    settings = {
        "apiRoot": api_root,
        "colormaps": {name: base64.b64encode(colormap(name).tobytes()).decode("ascii") for name in COLORMAPS},
        "defaults": {"plain": DEFAULT_COLORMAP, "signed": SIGNED_COLORMAP},
        "contourLevels": list(CONTOUR_LEVELS),
    }
    html = Template(source("page.html")).substitute(
        title=escape(title),
        policy=f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">' if api_root is None else "",
        style=style,
        settings=script_json(settings),
        data="" if data is None else f'<script type="application/json" id="{DATA}">{script_json(data)}</script>',
        plain=f"<pre>{escape(plain)}</pre>" if plain else "",
        script=code,
    )
    return Document(html, policy)


def script_json(value: Any) -> str:
    """Strict JSON that nothing inside a script element can end or open: every "<" is written as \\u003c."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _digest(text: str) -> str:
    """The hash by which a content security policy allows one inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"
