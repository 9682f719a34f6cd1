"""Rows of the tables: of one film, of its words, or of its failure, and many of them together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from medinterp.audit.looking import Looked, Row
from medinterp.audit.schema import NO_FINDING, OWN, failures_schema, films_schema, words_schema
from medinterp.types import Film, Float32Array, Report


@dataclass(frozen=True, eq=False)
class Rows:
    """What one film comes to: its row and its words' rows, or why there are none."""

    film: pa.Table | None
    words: pa.Table | None
    failure: pa.Table | None

    @property
    def film_id(self) -> str:
        table = self.film if self.film is not None else self.failure
        assert table is not None
        return str(table["film_id"][0].as_py())


def film_row(
    looked: Looked,
    film: Film,
    report: Report,
    given: bool,
    resampled: bool,
    grid: tuple[int, int],
    columns: Sequence[pa.Field],
) -> pa.Table:
    """A film's row (`films_schema`); film: as the model took it, with its own doubts."""
    from medinterp.imaging.body import share_by_cell

    assert looked.body is not None
    row = looked.row
    told = {
        **{name: row[name] for name in ("film_id", "path", "sha256", "width", "height", "labels", "lungs", "markers")},
        **{OWN + column.name: row.get(column.name) for column in columns},
        "report": report.text,
        "complete": report.complete,
        "given": given,
        "patient_id_sha256": row["patient_id_sha256"],
        "gate_warnings": [warning.code for warning in film.warnings],
        "body": share_by_cell(looked.body, *grid).ravel().tolist(),
        "resampled": resampled,
        "thumbnail": row["thumbnail"],
    }
    return pa.Table.from_pylist([told], schema=films_schema(math.prod(grid), columns))


def word_rows(
    film_id: str,
    report: Report,
    maps: Mapping[str, Float32Array],
    reliance: Float32Array | None,
    grid: tuple[int, int],
) -> pa.Table:
    """The rows of a report's words (`words_schema`); maps: by method, float32 [words, rows, columns] on the grid."""
    cells = math.prod(grid)
    naming = {k: finding for finding in reversed(report.findings) for k in finding.word_indices}
    findings = [naming.get(word.index) for word in report.words]
    columns: dict[str, Any] = {
        "finding": [NO_FINDING if finding is None else finding.name for finding in findings],
        "film_id": [film_id] * len(report.words),
        "word": [word.index for word in report.words],
        **{name: [getattr(word, name) for word in report.words] for name in ("text", "start", "end", "section")},
        "finding_index": [None if finding is None else finding.index for finding in findings],
        "status": [None if finding is None else finding.status for finding in findings],
        "side": [None if finding is None else finding.side for finding in findings],
        "zones": [[] if finding is None else list(finding.zones) for finding in findings],
        **{name: [getattr(word, name) for word in report.words] for name in ("logprob", "unlikely", "image_mass")},
        "reliance": [None] * len(report.words) if reliance is None else reliance,
    }
    schema = words_schema(cells, list(maps))
    arrays = [pa.array(columns[field.name], field.type) for field in schema if field.name in columns]
    for values in maps.values():
        flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, cells))
    return pa.Table.from_arrays(arrays, schema=schema)


def failed(row: Row, stage: str, reason: str, error: str) -> Rows:
    """A film without a report (`failures_schema`); reason: a sentence that holds nothing of the patient."""
    told = {"film_id": row["film_id"], "path": row["path"], "stage": stage, "reason": reason, "error": error}
    return Rows(None, None, pa.Table.from_pylist([told], schema=failures_schema()))


_PARTS = ("film", "words", "failure")


def packed_rows(rows: Sequence[Rows]) -> pa.Table:
    """Rows on their way to the files: a film a row with its id, its tables as Arrow's own streams.

    So its words stay together wherever blocks are cut, and keep their types where blocks are joined.
    """
    parts = {
        part: pa.array([_stream(getattr(one, part)) for one in rows], pa.large_binary()) for part in _PARTS
    }
    return pa.table({"film_id": pa.array([one.film_id for one in rows], pa.string()), **parts})


def unpacked_rows(table: pa.Table) -> Rows:
    """The rows of all films together."""
    return Rows(*(_joined(table[part]) for part in _PARTS))


def _stream(table: pa.Table | None) -> bytes | None:
    if table is None:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _joined(streams: Iterable[Any]) -> pa.Table | None:
    tables = [pa.ipc.open_stream(one.as_buffer()).read_all() for one in streams if one.is_valid]
    return pa.concat_tables(tables) if tables else None
