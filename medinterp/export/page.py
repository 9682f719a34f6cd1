"""An explanation as one HTML file: the reading room over the report's own data. It asks nothing of any other file or
machine."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.export.facts import CONTROLS, export_facts
from medinterp.export.record import document as record
from medinterp.relevancy import METHODS
from medinterp.render import canvas, encode_png
from medinterp.types import Explanation, Film, FilmWarning, MapPack, Provenance, Report, Word
from medinterp.view import document
from medinterp.view.packs import packed

FILM_SIZE = 1024
"""The films' longest side in the file, in pixels, at most."""
SCALE = "as chosen on the page: the whole report's or one word's, square root"
"""What a file says of the scale of its colours."""
_REPORT = (
    *("text", "complete", "sections", "findings", "mentions", "sentences", "thinking", "boxes", "box_notes"),
    *("words", "tokens"),
)
_GIVEN = "A given report"


def html(explanation: Explanation, *, method: str | None = None) -> str:
    """The report with clickable words, its films and all maps, as the text of one HTML file (UTF-8).

    method: the one that is shown first, by default the first that was computed; a reader can change to the
    others. Raises SelectionError for a method that was not computed, or a report without maps.
    """
    packs = explanation.packs
    if not packs:
        raise SelectionError("this report has no maps to show; read the film again with at least one method")
    shown = next(iter(packs)) if method is None else method
    if shown not in packs:
        raise SelectionError(f"{shown!r} was not computed for this report; there are: {', '.join(packs)}")
    known = record(explanation)
    names = [shown, *(name for name in packs if name != shown)]
    every = [*packs.values(), *explanation.prior_packs.values()]
    films = [explanation.film] if explanation.prior is None else [explanation.film, explanation.prior]
    data = {
        "explanation": {
            "id": "",
            "film": known["film"],
            "prior": known["prior"],
            "report": {name: known[name] for name in _REPORT} | {"words": _words(explanation, known["words"])},
            "methods": names,
            "madeWith": {name: dict(packs[name].options) for name in names},
            "provenance": known["provenance"],
            "box_verdicts": known["box_verdicts"],
        },
        "file": export_facts(explanation, scale=SCALE).lines(),
        "methods": [_method(name) for name in dict.fromkeys((*names, *_members(every)))],
        "packs": [_pack(pack, explanation.report.words) for pack in every],
        "films": [base64.b64encode(encode_png(film_picture(film))).decode("ascii") for film in films],
    }
    return document(title=_title(explanation.provenance), data=data, plain=_plain(explanation)).html


def film_picture(film: Film) -> npt.NDArray[np.uint8]:
    """The film as the page shows it, uint8 [height, width], FILM_SIZE at most, made as overlays make it."""
    return canvas(film, FILM_SIZE if max(film.height, film.width) > FILM_SIZE else None)


def _title(provenance: Provenance) -> str:
    """Who wrote the report, and who explains it where that is another."""
    if provenance.given:
        return f"{_GIVEN}, explained by {provenance.model_id}"
    if provenance.writer is None:
        return f"Chest film report by {provenance.model_id}"
    return f"Chest film report by {provenance.writer} at an engine, explained by {provenance.model_id}"


def _words(explanation: Explanation, words: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The words with what each loses without the film, where that was asked for."""
    if explanation.reliance is None:
        return words
    found = explanation.reliance.reliance
    return [word | {"reliance": float(found[at]) if word["token_indices"] else None} for at, word in enumerate(words)]


def _plain(explanation: Explanation) -> str:
    """The report for a reader whose browser runs no script: what is doubtful above it, what was thought left out."""
    report, provenance = explanation.report, explanation.provenance
    lines = [_title(provenance), *([provenance.notice] if provenance.notice else [])]
    lines += [f"Warning: {one.text}" for one in _warnings(explanation)]
    lines += ["", _spoken(report).strip()]
    if report.unfinished is not None:
        lines += ["", report.unfinished]
    return CONTROLS.sub("\ufffd", "\n".join(lines))


def _warnings(explanation: Explanation) -> list[FilmWarning]:
    """Of both films, those that make a report meaningless first."""
    prior = () if explanation.prior is None else explanation.prior.warnings
    told = [*explanation.film.warnings, *(replace(one, text=f"Prior film: {one.text}") for one in prior)]
    return sorted(told, key=lambda one: not one.withholds)


def _spoken(report: Report) -> str:
    """The text without what the model thought before it answered."""
    kept, at = [], 0
    for thought in report.thinking:
        kept.append(report.text[at : thought.start])
        at = thought.end
    return "".join((*kept, report.text[at:]))


def _members(packs: Sequence[MapPack]) -> list[str]:
    """The methods that a consensus joins: it may stand in a report without them, and names them."""
    return [name for pack in packs for name in pack.members]


def _method(name: str) -> dict[str, Any]:
    """What the page needs to know of a method."""
    method = METHODS.get(name)
    if method is None:  # a stored report may have been made with a method that is gone
        gone = {"title": name, "meaning": "This version of medinterp no longer has this method."}
        unknown = {"family": "", "citation": "", "unit": ""}
        return {"name": name, **gone, **unknown, "on_model": False, "default": True, "settings": []}
    return {
        "name": method.name,
        "family": method.family,
        "title": method.title,
        "meaning": method.meaning,
        "citation": method.citation,
        "unit": method.unit,
        "on_model": False,  # a file has no model to ask
        "default": True,
        "settings": [asdict(setting) for setting in method.settings],
    }


def _pack(pack: MapPack, words: tuple[Word, ...]) -> dict[str, Any]:
    """A method's maps as `GET /maps/packed` answers them in JSON."""
    maps = packed(pack, words)
    _, rows, columns = maps.tokens.shape
    return {
        "method": pack.method,
        "image": pack.image,
        "rows": rows,
        "columns": columns,
        "signed": pack.signed,
        "additive": pack.additive,
        "notes": list(pack.notes),
        "members": list(pack.members),
        "options": dict(pack.options),
        "sinks": None if pack.sinks is None else _array(pack.sinks),
        "tokens": _array(maps.tokens),
        "scale": maps.scale,
        "disagreement": None if maps.disagreement is None else _array(maps.disagreement),
        "disagreement_scale": maps.disagreement_scale,
        "ranges": asdict(maps.ranges),
    }


def _array(array: npt.NDArray[Any]) -> dict[str, Any]:
    """An array as the page reads it: dtype, shape, little-endian data in base64."""
    raw = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(raw).decode("ascii")}
