"""An audit's folder: what lies where, read without ray, and how a part of it is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pd
import pyarrow.parquet as pq
from pyarrow import fs

from medinterp.audit.places import Place, place_of
from medinterp.audit.schema import SCHEMA_VERSION, failures_schema
from medinterp.errors import DatasetError

MANIFEST, FAILURES, FILMS, WORDS = "manifest.json", "failures.parquet", "films", "words"
FAILURE_PARTS = "state/failures"
"""Where failures lie until the audit has come to its end."""
BATCH_ROWS = 2048
"""Words that are read at once."""
_BY_FINDING = pd.partitioning(pa.schema([("finding", pa.string())]), flavor="hive")


@dataclass(frozen=True)
class Audit:
    """The tables of an audit that has come to its end."""

    place: Place
    manifest: Mapping[str, Any]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of every map."""
        rows, columns = self.manifest["grid"]
        return rows, columns

    def films(self, columns: Sequence[str] | None = None, ids: Sequence[str] | None = None) -> pa.Table:
        """One row a film (`films_schema`); ids: of these films alone."""
        chosen = None if ids is None else pc.field("film_id").isin(pa.array(ids, pa.string()))
        return self._dataset(FILMS).to_table(columns=None if columns is None else list(columns), filter=chosen)

    def words(
        self,
        columns: Sequence[str] | None = None,
        finding: str | None = None,
        *,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """One row a word (`words_schema`), of one finding or of all, batch by batch and folder by folder."""
        chosen = None if finding is None else pc.field("finding") == finding
        yield from self._dataset(WORDS, _BY_FINDING).to_batches(
            columns=None if columns is None else list(columns),
            filter=chosen,
            batch_size=batch_rows,
            batch_readahead=2,
            fragment_readahead=1,
        )

    def findings(self) -> list[str]:
        """The findings that words name, `none` among them where some name none."""
        parts = [_BY_FINDING.parse(one.path) for one in self._dataset(WORDS, _BY_FINDING).get_fragments()]
        return sorted({pd.get_partition_keys(part)["finding"] for part in parts})

    def failures(self) -> pa.Table:
        """One row a film without a report (`failures_schema`)."""
        with self.place.filesystem.open_input_file(self.place.below(FAILURES)) as file:
            return pq.read_table(file)

    def _dataset(self, folder: str, partitioning: Any = None) -> Any:
        where = self.place.below(folder)
        info = self.place.filesystem.get_file_info(where)
        if info.type != fs.FileType.Directory:  # no film was read: there is no row, and no column
            raise DatasetError(f"the audit has no {folder}: no film of it was read (see {FAILURES})")
        return pd.dataset(where, filesystem=self.place.filesystem, format="parquet", partitioning=partitioning)


def open_audit(where: Any) -> Audit:
    """The audit of a folder, or of a URI such as s3://bucket/audit.

    Raises DatasetError where there is none, where it has not come to its end, or where another version made it.
    """
    place = place_of(where)
    info = place.filesystem.get_file_info(place.below(MANIFEST))
    if info.type != fs.FileType.File:
        raise DatasetError(f"{where} holds no {MANIFEST}: it is no audit, or one that has not ended (run it again)")
    manifest = json.loads(place.read(MANIFEST))
    if manifest.get("schema") != SCHEMA_VERSION:
        raise DatasetError(f"{where} has tables of schema {manifest.get('schema')}; schema {SCHEMA_VERSION} is read")
    return Audit(place, manifest)


def write_part(
    place: Place, name: str, films: pa.Table | None, words: pa.Table | None, failures: pa.Table | None
) -> None:
    """Write some films, their words and some failures: files that are all called `name`; what is None is not written.

    One file of films, one of words in the folder of each finding, one of failures; written again, they are the same.
    """
    if films is not None:
        _write(place, f"{FILMS}/{name}", films)
    if words is not None:
        for finding in pc.unique(words["finding"]).to_pylist():
            rows = words.filter(pc.equal(words["finding"], finding)).drop_columns("finding")
            _write(place, f"{WORDS}/{_BY_FINDING.format(pc.field('finding') == finding)[0]}/{name}", rows)
    if failures is not None:
        _write(place, f"{FAILURE_PARTS}/{name}", failures)


def write_end(place: Place, manifest: Mapping[str, Any], failures: pa.Table) -> None:
    """Write what says that the audit has come to its end; manifest without schema, which is put first."""
    _write_file(place, FAILURES, failures)
    told = {"schema": SCHEMA_VERSION, **manifest}
    place.write(MANIFEST, (json.dumps(told, indent=2) + "\n").encode())


def write_audit(
    where: Any, manifest: Mapping[str, Any], films: pa.Table, words: pa.Table, failures: pa.Table | None = None
) -> Audit:
    """A whole audit from tables that are at hand, for those that are small."""
    place = place_of(where)
    write_part(place, "part-0", films, words, None)
    write_end(place, manifest, failures_schema().empty_table() if failures is None else failures)
    return open_audit(where)


def _write(place: Place, name: str, table: pa.Table) -> None:
    _write_file(place, f"{name}.parquet", table)


def _write_file(place: Place, name: str, table: pa.Table) -> None:
    where = place.below(name)
    place.filesystem.create_dir(where.rpartition("/")[0], recursive=True)
    with place.filesystem.open_output_stream(where) as file:
        pq.write_table(table, file, compression="zstd")
