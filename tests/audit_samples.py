"""Films as an audit has looked at them, and tables made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from medinterp.audit.looking import Looked
from medinterp.audit.schema import films_schema, words_schema
from medinterp.types import Film

CELLS = 4


def looked(film_id: str, report: str | None = None) -> Looked:
    """A film of noise that could be read."""
    row: dict[str, Any] = {
        "film_id": film_id,
        "path": f"{film_id}.png",
        "labels": None,
        "patient_id_sha256": None,
        "report": report,
        "sha256": film_id,
        "width": 64,
        "height": 64,
        "lungs": None,
        "markers": [],
        "thumbnail": b"",
    }
    pixels = np.random.default_rng(len(film_id)).integers(0, 256, (64, 64), dtype=np.uint8)
    return Looked(row, Film(pixels, "image/png", film_id), np.ones((8, 8), dtype=bool))


def film_table(*film_ids: str) -> pa.Table:
    rows = [
        {
            **dict.fromkeys(("path", "sha256", "report"), film_id),
            "film_id": film_id,
            "width": 64,
            "height": 64,
            "src_site": "A",
            "complete": True,
            "given": False,
            "gate_warnings": [],
            "markers": [],
            "body": [1.0] * CELLS,
            "resampled": False,
            "thumbnail": b"",
        }
        for film_id in film_ids
    ]
    return pa.Table.from_pylist(rows, schema=films_schema(CELLS, [pa.field("site", pa.string())]))


def word_table(film_id: str, *findings: str) -> pa.Table:
    rows = [
        {
            "finding": finding,
            "film_id": film_id,
            "word": word,
            "text": "word",
            "start": 5 * word,
            "end": 5 * word + 4,
            "zones": [],
            "logprob": -1.0,
            "unlikely": False,
            "image_mass": 0.25,
            "map_raw": [float(word), 0.0, 0.5, 1.0],
        }
        for word, finding in enumerate(findings)
    ]
    return pa.Table.from_pylist(rows, schema=words_schema(CELLS, ["raw"]))
