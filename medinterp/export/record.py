"""An explanation as a JSON document: all that is known of a report but the maps' numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medinterp.export.facts import export_facts
from medinterp.types import Explanation, Film, MapPack, Reliance, TextSources


def document(explanation: Explanation) -> dict[str, Any]:
    """The report, its tokens, words, findings and sentences, the text sources and the reliance that were asked for, the
    methods that were run, verdicts, and the provenance.

    Plain dicts, lists, text, numbers and None, as strict JSON takes them: a number that was not measured
    or is not finite (nan, -inf) is None. Spans count characters (Unicode code points) of `text`;
    log-probabilities are in nats. The maps themselves are in `npz`.
    """
    report = explanation.report
    return {
        "text": report.text,
        "complete": report.complete,
        "sections": _plain(report.sections),
        "findings": _plain(report.findings),
        "mentions": _plain(report.mentions),
        "sentences": _plain(report.sentences),
        "thinking": _plain(report.thinking),
        "boxes": _plain(report.boxes),
        "box_notes": list(report.box_notes),
        "words": _plain(report.words),
        "tokens": _plain(report.tokens),
        "text_sources": [_by_names(kept) for kept in explanation.text_sources],
        "reliance": None if explanation.reliance is None else _by_names(explanation.reliance),
        "methods": [_method(pack) for pack in explanation.packs.values()],
        "grid": _grid(explanation),
        "film": _film(explanation.film),
        "prior": None if explanation.prior is None else _film(explanation.prior),
        "verdicts": _plain(explanation.verdicts),
        "box_verdicts": _plain(explanation.box_verdicts),
        "provenance": _plain(explanation.provenance),
        "export": export_facts(explanation).document(),
    }


def _film(film: Film) -> dict[str, Any]:
    """A film without its picture."""
    return {
        "width": film.width,
        "height": film.height,
        "bits": film.bits,
        "spacing": _plain(film.spacing),
        "sides_told": film.sides_told,
        "media_type": film.media_type,
        "sha256": film.sha256,
        "notes": list(film.notes),
        "warnings": _plain(film.warnings),
        "window": film.window,
        "windows": _plain(film.windows),
    }


def _method(pack: MapPack) -> dict[str, Any]:
    return {
        "name": pack.method,
        "signed": pack.signed,
        "additive": pack.additive,
        "notes": list(pack.notes),
        "members": list(pack.members),
        "image": pack.image,
    }


def _by_names(found: TextSources | Reliance) -> dict[str, Any]:
    """By the names of its dataclass; arrays as lists."""
    fields = {item.name: getattr(found, item.name) for item in dataclasses.fields(found)}
    return {
        name: _plain(value.tolist() if isinstance(value, np.ndarray) else value) for name, value in fields.items()
    }


def _grid(explanation: Explanation) -> dict[str, int] | None:
    """Rows and columns of the maps; None for a report without maps. Raises ValueError where they differ."""
    shapes = {pack.values.shape[1:] for pack in explanation.packs.values()}
    if not shapes:
        return None
    if len(shapes) > 1:
        raise ValueError(f"the maps of one report have one grid, not {sorted(shapes)}")
    rows, columns = shapes.pop()
    return {"rows": int(rows), "columns": int(columns)}


def _plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as dicts and lists; raises TypeError for what JSON has not."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [_plain(entry) for entry in value]
    raise TypeError(f"{type(value).__name__} cannot stand in a JSON document")
