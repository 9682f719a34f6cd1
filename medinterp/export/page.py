"""An explanation as one HTML file: it asks nothing of any other file or machine."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.export.chips import chips_html, chips_of
from medinterp.export.markup import mentions_html, report_html, sentences_html, unlikely_html, warnings_html
from medinterp.imaging import rgb8
from medinterp.relevancy import METHODS, quantity_of, select_map, word_maps
from medinterp.render import RenderOptions, colormap, default_colormap, encode_png, report_range
from medinterp.types import Explanation, Film, MapPack, Provenance, Report, Word

FILM_SIZE = 1024
"""The film's longest side in the file, in pixels, at most."""
BANNER = "Research use only, not for diagnosis."
_GIVEN = "A given report"


def html(explanation: Explanation, *, method: str | None = None) -> str:
    """The report with clickable words, the film and all maps, as the text of one HTML file (UTF-8).

    method: the one that is shown first, by default the first that was computed; a reader can change to the
    others. Raises SelectionError for a method that was not computed, or a report without maps.
    """
    packs = explanation.packs
    if not packs:
        raise SelectionError("this report has no maps to show; read the film again with at least one method")
    shown = next(iter(packs)) if method is None else method
    if shown not in packs:
        raise SelectionError(f"{shown!r} was not computed for this report; there are: {', '.join(packs)}")
    report, provenance = explanation.report, explanation.provenance
    selections = _selections(report)
    views = _views(packs)
    data = {
        "opacity": RenderOptions().opacity,
        "selections": [{"label": label, "facts": facts} for label, facts, _ in selections],
        "methods": [
            _method(meaning, pack, report.words, [tokens for _, _, tokens in selections]) for _, meaning, pack in views
        ],
    }
    script, style = _asset("page.js"), _asset("page.css")
    policy = f"default-src 'none'; img-src data:; script-src {_digest(script)}; style-src {_digest(style)}"
    cut = f'<p class="cut">Cut off at the limit of {len(report.tokens)} tokens.</p>'
    picture = film_picture(explanation.film)
    height, width = picture.shape
    return Template(_asset("page.html")).substitute(
        policy=escape(policy),
        title=escape(f"Chest film report {'explained ' if provenance.given else ''}by {_author(provenance)}"),
        style=style,
        banner=escape(BANNER),
        notice=escape(provenance.notice or ""),
        warnings=warnings_html(explanation),
        model=escape(f"{_GIVEN}, explained by {provenance.model_id}" if provenance.given else _author(provenance)),
        film=f"data:image/png;base64,{_base64(encode_png(picture))}",
        width=width,
        height=height,
        methods=_options([title for title, _, _ in views], chosen=[pack for _, _, pack in views].index(packs[shown])),
        alone="" if len(views) > 1 else " disabled",
        opacity=data["opacity"],
        report=report_html(report),
        findings=chips_html(report),
        mentions=mentions_html(report),
        sentences=sentences_html(report),
        unlikely=unlikely_html(report),
        cut="" if report.complete else cut,
        provenance=_provenance(provenance, explanation.film, explanation.prior),
        data=script_json(data),
        script=script,
    )


def film_picture(film: Film) -> npt.NDArray[np.uint8]:
    """The film as the page shows it, uint8 [height, width], FILM_SIZE at most, made as overlays make it."""
    gray = rgb8(film)[..., 0]
    factor = FILM_SIZE / max(gray.shape)
    if factor >= 1.0:
        return np.ascontiguousarray(gray)
    size = (max(1, round(film.width * factor)), max(1, round(film.height * factor)))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def script_json(value: Any) -> str:
    """Strict JSON that nothing inside a script element can end or open: every "<" is written as \\u003c."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _selections(report: Report) -> list[tuple[str, str, tuple[int, ...]]]:
    """Label, facts and tokens of every word, then of every chip."""
    words = [(word.text, _facts(word), word.token_indices) for word in report.words]
    facts = {chip: f"finding{', ' if chip.description else ''}{chip.description}" for chip in chips_of(report)}
    return words + [(chip.title, fact, chip.tokens) for chip, fact in facts.items()]


def _facts(word: Word) -> str:
    facts = []
    if math.isfinite(word.logprob):
        facts.append(f"probability {math.exp(word.logprob):.3f}")
    if math.isfinite(word.image_mass):
        facts.append(f"{100 * word.image_mass:.1f} % of the attention on the film")
    if word.unlikely:
        facts.append("the model would hardly have written it")
    return ", ".join(facts)


def _views(packs: Mapping[str, MapPack]) -> list[tuple[str, str, MapPack]]:
    """Title, meaning and maps of every method, and after a consensus how far its members disagree."""
    views = []
    for name, pack in packs.items():
        title = _title(name)
        views.append((title, METHODS[name].meaning if name in METHODS else "", pack))
        if pack.disagreement is not None:
            members = " and ".join(_title(member) for member in pack.members)
            apart = f"Bright where {members} rank a cell far apart."
            views.append((f"{title}, disagreement", apart, quantity_of(pack, "disagreement")))
    return views


def _title(name: str) -> str:
    return METHODS[name].title if name in METHODS else name


def _method(meaning: str, pack: MapPack, words: Sequence[Word], selections: list[tuple[int, ...]]) -> dict[str, Any]:
    """What the page needs of one method; values: float32 [selections, rows, columns]."""
    _, rows, columns = pack.values.shape
    values = np.zeros((len(selections), rows, columns), dtype="<f4")
    for index, tokens in enumerate(selections):
        if tokens:  # what no token wrote is no button, and its zeros are never drawn
            values[index] = select_map(pack, tokens).values
    low, high = report_range(word_maps(pack, words), pack.signed)
    known = METHODS.get(pack.method)
    return {
        "name": pack.method,
        "meaning": meaning,
        "citation": known.citation if known else "",
        "notes": list(pack.notes),
        "signed": pack.signed,
        "rows": rows,
        "columns": columns,
        "low": low,
        "high": high,
        "exceeded": bool(np.abs(values).max(initial=0.0) > 1.0001 * high),
        "colours": _base64(colormap(default_colormap(pack.signed)).tobytes()),
        "values": _base64(values.tobytes()),
    }


def _options(titles: Sequence[str], chosen: int) -> str:
    return "\n".join(
        f'<option value="{place}"{" selected" if place == chosen else ""}>{escape(title)}</option>'
        for place, title in enumerate(titles)
    )


def _author(provenance: Provenance) -> str:
    """Who wrote a report that was not given, and who explains it where that is another."""
    if provenance.writer is None:
        return provenance.model_id
    return f"{provenance.writer} at an engine, explained by {provenance.model_id}"


def _engine(provenance: Provenance) -> str:
    """What is known of the engine's tokens; nothing where no engine wrote."""
    if provenance.writer is None:
        return ""
    written = f"was written by {provenance.writer} at an engine"
    if not provenance.tokens_compared:
        return f"{written}, which did not tell its tokens: those explained here may be cut otherwise"
    if provenance.retokenised_at is None:
        return f"{written}; its tokens are those explained here"
    return f"{written}; from character {provenance.retokenised_at} on its tokens are cut otherwise than here"


def _provenance(provenance: Provenance, film: Film, prior: Film | None) -> str:
    written = {
        "Report": _engine(provenance),
        "Seed": "none" if provenance.seed is None else str(provenance.seed),
        "Token limit": str(provenance.max_new_tokens),
    }
    given = {
        "Report": "was given, and not written by the model: each word is explained as if the model had come to it "
        "after the prompt and the words before"
    }
    facts = {
        "Model": f"{provenance.model_id}, revision {provenance.model_revision}",
        "Numbers": f"{provenance.dtype} on {provenance.device}",
        **(given if provenance.given else written),
        "Prompt": provenance.prompt,
        **_film("Film", film),
        **({} if prior is None else _film("Prior film", prior)),
        "Libraries": ", ".join(f"{name} {number}" for name, number in provenance.library_versions.items()),
    }
    return "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact)


def _film(name: str, film: Film) -> dict[str, str]:
    """What a film is, what was done to it, and by which window it was shown."""
    label = next((choice.label for choice in film.windows if choice.name == film.window), "")
    return {
        name: f"{film.width} x {film.height} pixels, {film.media_type}, SHA-256 {film.sha256}",
        f"{name} was": "; ".join(film.notes),
        f"{name}'s window": f"{film.window}{': ' if label else ''}{label}" if film.window else "",
    }


def _asset(name: str) -> str:
    return files("medinterp.export").joinpath("static", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """The hash by which a content security policy allows one inline element."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
