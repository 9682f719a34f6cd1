"""Builds the page: the story first, then the atlases, the tables behind it, and how all was made."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from medinterp.audit.analysis.result import Analysis, analyse, told
from medinterp.audit.page.sections import Pages, atlases, findings, groups, made, model_name, story
from medinterp.audit.tables import Audit
from medinterp.view.bundle import source

NO_BREAK = "\u00a0"
PAGE, NUMBERS, PLOTS = "report.html", "analysis.json", "plots"


def write_page(audit: Audit, method: str | None = None, *, service: str | None = None) -> Analysis:
    """Analyse an audit and write `report.html`, `analysis.json` and `plots/` into its folder.

    method: whose maps are the evidence, by default the audit's first; service: the address of a reading room that the
    page links to. Films link to their pages in `rooms/` (see `audit.rooms`) where those are. Raises as `analyse` does.
    """
    analysis = analyse(audit, method)
    pages = Pages(audit, analysis)
    sections = [*story(pages), findings(pages), atlases(pages), groups(pages), made(pages)]
    html = _document(audit, sections, service)
    for name, data in pages.plots.items():
        audit.place.write(f"{PLOTS}/{name}", data)
    audit.place.write(NUMBERS, (json.dumps(told(analysis), indent=1) + "\n").encode())
    audit.place.write(PAGE, html.encode())
    return analysis


def _document(audit: Audit, sections: Sequence[str], service: str | None) -> str:
    style = source("base.css") + files("medinterp.audit.page").joinpath("audit.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    model, manifest = audit.manifest["model"], audit.manifest
    reports = "given reports" if manifest["given_reports"] else "reports of its own"
    notice = f'<p class="ma-notice">{escape(model["notice"])}</p>' if model.get("notice") else ""
    room = f' · <a href="{escape(service)}" rel="noreferrer">reading room</a>' if service else ""
    facts = (
        f"{manifest['films']:,} films, {manifest['words']:,} words of {reports} · {escape(model_name(audit))} · "
        f"{escape(str(manifest['ended'])[:10])}{room}"
    )
    return (
        '<!doctype html>\n<html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Audit of {manifest['films']:,} films</title><style>{style}</style></head><body>"
        '<div id="medinterp" class="ma" data-theme="light">'
        f'<header class="ma-head"><h1><span class="mi-mark"></span>What the model looks at, across '
        f"{manifest['films']:,} films</h1><p>{facts}</p>{notice}</header>"
        f"<main>{''.join(sections).replace(' %', NO_BREAK + '%')}</main></div></body></html>\n"
    )
