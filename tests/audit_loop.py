"""The tables of an audit by a plain loop over its own reader, without Ray: for what is read out of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from medinterp.audit.looking import look_at
from medinterp.audit.reader import Asked, Reader
from medinterp.audit.schema import failures_schema
from medinterp.audit.source import read_source
from medinterp.audit.tables import Audit, write_audit


def audit_table(
    table: Path,
    out: Path,
    model: str,
    methods: Sequence[str],
    *,
    given: bool = True,
    reliance: bool = False,
    batch: int = 8,
) -> Audit:
    """Explain every film of an archive's table and write the audit's tables; given: the table's reports."""
    archive = read_source(table)
    reader = Reader(Asked(model, tuple(methods), reliance, columns=archive.columns), batch)
    films, words, failures = [], [], []
    rows = archive.films.to_pylist()
    for start in range(0, len(rows), batch):
        part = [row if given else row | {"report": None} for row in rows[start : start + batch]]
        for one in reader.read([look_at(archive.place, row) for row in part]):
            if one.failure is not None:
                failures.append(one.failure)
            else:
                films.append(one.film)
                words.append(one.words)
    manifest = {
        "medinterp": "test",
        **reader.facts(),
        "methods": list(methods),
        "given_reports": given,
        "reliance": reliance,
        "columns": [column.name for column in archive.columns],
        "source": {"kind": archive.kind, "films": len(rows)},
        "films": len(films),
        "failed": len(failures),
        "words": sum(one.num_rows for one in words),
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:10:00+00:00",
        "seconds": 600.0,
    }
    failed = pa.concat_tables(failures) if failures else failures_schema().empty_table()
    return write_audit(out, manifest, pa.concat_tables(films), pa.concat_tables(words), failed)
