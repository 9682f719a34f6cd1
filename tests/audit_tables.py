"""Tables of an audit made by hand: films in a row, each with the findings that its report tells."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from medinterp.audit.schema import NO_FINDING, failures_schema, films_schema, words_schema
from medinterp.audit.tables import Audit, write_audit

ROWS, COLUMNS = 8, 8
LUNGS = {"left": 0.125, "top": 0.125, "right": 0.875, "bottom": 0.875}
MARKER = {"left": 0.875, "top": 0.0, "right": 1.0, "bottom": 0.125, "text": "L"}
"""The cell in the upper right corner."""
MARKER_CELL, LUNG_CELLS = (0, 7), [(row, column) for row in range(2, 6) for column in range(2, 6)]


def map_at(shares: Mapping[tuple[int, int], float]) -> np.ndarray:
    """A map with these shares at these cells, the rest of 1 spread over the middle of the lungs."""
    values = np.zeros((ROWS, COLUMNS), dtype=np.float32)
    for cell in LUNG_CELLS:
        values[cell] += (1.0 - sum(shares.values())) / len(LUNG_CELLS)
    for cell, share in shares.items():
        values[cell] += share
    return values


@dataclass
class Told:
    """A finding of a report: its map, and log p of its word."""

    finding: str
    map: np.ndarray = field(default_factory=lambda: map_at({}))
    logprob: float = -0.1
    status: str = "present"
    side: str | None = None
    zones: tuple[str, ...] = ()
    reliance: float | None = None


@dataclass
class OneFilm:
    """A film: what its report tells, one sentence a finding; site, patient and labels."""

    told: Sequence[Told]
    site: str = "A"
    patient: str | None = None
    labels: Sequence[str] | None = None
    marker: bool = False
    id: str | None = None


def made_audit(where: Path, films: Sequence[OneFilm], *, given: bool = True, failed: Sequence[str] = ()) -> Audit:
    """Write an audit; films without an id are f0000, f0001, ..."""
    rows: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    jpeg = io.BytesIO()
    Image.fromarray(np.full((64, 64), 90, dtype=np.uint8)).save(jpeg, "JPEG")
    for k, film in enumerate(films):
        film_id, text = film.id or f"f{k:04d}", ""
        for number, one in enumerate(film.told):
            start, text = len(text), f"{text}{one.finding.capitalize()}. "
            words.append(
                {
                    "finding": one.finding,
                    "film_id": film_id,
                    "word": number,
                    "text": one.finding,
                    "start": start,
                    "end": start + len(one.finding),
                    "section": None,
                    "finding_index": number if one.finding != NO_FINDING else None,
                    "status": one.status if one.finding != NO_FINDING else None,
                    "side": one.side,
                    "zones": list(one.zones),
                    "logprob": one.logprob,
                    "unlikely": one.logprob < np.log(1e-3),
                    "image_mass": 0.5,
                    "reliance": one.reliance,
                    "map_raw": one.map.ravel(),
                }
            )
        rows.append(
            {
                "film_id": film_id,
                "path": f"{film_id}.png",
                "sha256": "",
                "width": 64,
                "height": 64,
                "src_site": film.site,
                "report": text,
                "complete": True,
                "given": given,
                "labels": film.labels,
                "patient_id_sha256": film.patient,
                "gate_warnings": [],
                "lungs": LUNGS,
                "markers": [MARKER] if film.marker else [],
                "body": np.ones(ROWS * COLUMNS, dtype=np.float32),
                "resampled": False,
                "thumbnail": jpeg.getvalue(),
            }
        )
    failures = [
        {"film_id": name, "path": name, "stage": "read", "reason": "The file is empty.", "error": "UnreadableFilmError"}
        for name in failed
    ]
    manifest = {
        "medinterp": "test",
        "model": {"id": "/somewhere/model", "revision": None, "dtype": "float32", "notice": "A model of a test."},
        "methods": ["raw"],
        "grid": [ROWS, COLUMNS],
        "given_reports": given,
        "reliance": False,
        "columns": ["site"],
        "films": len(rows),
        "failed": len(failures),
        "words": len(words),
        "ended": "2026-01-01T00:00:00+00:00",
    }
    site = [pa.field("site", pa.string())]
    return write_audit(
        where,
        manifest,
        pa.Table.from_pylist(rows, films_schema(ROWS * COLUMNS, site)),
        pa.Table.from_pylist(words, words_schema(ROWS * COLUMNS, ["raw"])),
        pa.Table.from_pylist(failures, failures_schema()),
    )
