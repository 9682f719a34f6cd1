"""The tables of an audit by a plain loop over the library, one film after another: what the pipeline's are held to."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from medinterp import Explainer
from medinterp.audit.schema import NO_FINDING, failures_schema, films_schema, words_schema
from medinterp.audit.tables import Audit, write_audit
from medinterp.errors import MedInterpError
from medinterp.explanation import Explanation
from medinterp.imaging import gray8
from medinterp.imaging.lungs import lung_box
from medinterp.relevancy import word_maps
from medinterp.types import Film

GRID = (16, 16)
OWN = ("site", "view", "scanner", "sex", "age")
SIDES = ("left", "top", "right", "bottom")


def audit_table(
    table: Path, out: Path, explainer: Explainer, methods: Sequence[str], *, given: bool = True, reliance: bool = False
) -> Audit:
    """Explain every film of an archive's table and write the audit's tables; given: the table's reports."""
    truth = json.loads((table.parent / "truth.json").read_text())
    films: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        try:
            found = explainer.explain(
                table.parent / row["path"], report=row["report"] if given else None, methods=methods, force=True
            )
        except (MedInterpError, OSError) as error:
            own = {"film_id": row["id"], "path": row["path"], "stage": "read", "reason": "It cannot be read."}
            failures.append(own | {"error": type(error).__name__})
            continue
        if reliance:
            found = found.keeping(explainer.reliance(found))
        marker = truth["shortcut"]["box"] if truth["films"][row["id"]]["marker"] == "L" else None
        films.append(_film(row, found, marker, given))
        words += _words(row["id"], found, methods)
    cells = GRID[0] * GRID[1]
    own_fields = [pa.field(name, pa.int64() if name == "age" else pa.string()) for name in OWN]
    manifest = {
        "medinterp": "test",
        "model": {"id": explainer.loaded.model_id, "revision": None, "notice": explainer.loaded.notice},
        "methods": list(methods),
        "grid": list(GRID),
        "given_reports": given,
        "reliance": reliance,
        "columns": list(OWN),
        "source": {"kind": "csv", "films": len(rows)},
        "films": len(films),
        "failed": len(failures),
        "words": len(words),
        "started": "2026-01-01T00:00:00Z",
        "ended": "2026-01-01T00:00:00Z",
        "seconds": 0.0,
    }
    return write_audit(
        out,
        manifest,
        pa.Table.from_pylist(films, films_schema(cells, own_fields)),
        pa.Table.from_pylist(words, words_schema(cells, methods)),
        pa.Table.from_pylist(failures, failures_schema()),
    )


def _film(row: dict[str, str], found: Explanation, marker: Sequence[float] | None, given: bool) -> dict[str, Any]:
    gray, lungs = gray8(found.film), lung_box(found.film)
    small = cv2.resize(gray, (256, round(256 * gray.shape[0] / gray.shape[1])), interpolation=cv2.INTER_AREA)
    return {
        "film_id": row["id"],
        "path": row["path"],
        "sha256": found.film.sha256,
        "width": found.film.width,
        "height": found.film.height,
        **{f"src_{name}": int(row[name]) if name == "age" else row[name] for name in OWN},
        "report": found.report.text,
        "complete": found.report.complete,
        "given": given,
        "labels": [label for label in row["labels"].split(";") if label],
        "patient_id_sha256": hashlib.sha256(row["patient_id"].encode()).hexdigest(),
        "gate_warnings": [warning.code for warning in found.film.warnings],
        "lungs": None if lungs is None else dict(zip(SIDES, lungs, strict=True)),
        "markers": [] if marker is None else [dict(zip(SIDES, marker, strict=True)) | {"text": "L"}],
        "body": _body(found.film).ravel(),
        "resampled": False,
        "thumbnail": cv2.imencode(".jpg", small)[1].tobytes(),
    }


def _body(film: Film) -> Any:
    """The share of each cell inside the outline that Otsu's threshold draws."""
    small = cv2.GaussianBlur(cv2.resize(gray8(film), (128, 128), interpolation=cv2.INTER_AREA), (0, 0), 2)
    bright = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1]
    outlines, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    body = cv2.drawContours(np.zeros_like(bright), [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return body.astype(np.float32).reshape(GRID[0], 8, GRID[1], 8).mean(axis=(1, 3))


def _words(film_id: str, found: Explanation, methods: Sequence[str]) -> list[dict[str, Any]]:
    report = found.report
    of_word = {k: finding for finding in report.findings for k in finding.word_indices}
    maps = {method: word_maps(found.packs[method], report.words) for method in methods}
    told = []
    for word in report.words:
        finding = of_word.get(word.index)
        told.append(
            {
                "finding": NO_FINDING if finding is None else finding.name,
                "film_id": film_id,
                "word": word.index,
                "text": word.text,
                "start": word.start,
                "end": word.end,
                "section": word.section,
                "finding_index": None if finding is None else finding.index,
                "status": None if finding is None else finding.status,
                "side": None if finding is None else finding.side,
                "zones": [] if finding is None else list(finding.zones),
                "logprob": word.logprob,
                "unlikely": word.unlikely,
                "image_mass": word.image_mass,
                "reliance": None if found.reliance is None else float(found.reliance.reliance[word.index]),
                **{f"map_{method}": maps[method][word.index].ravel() for method in methods},
            }
        )
    return told
