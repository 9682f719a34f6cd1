"""What the columns of an audit's tables hold: the schema, version 1, as pyarrow has it and as people read it.

`medinterp audit schema` prints it. A column that is added leaves the version; one that changes its meaning, or goes,
makes it the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

SCHEMA_VERSION = 1
NO_FINDING = "none"
"""The finding of words that name none."""
OWN = "src_"
"""Before the name of a column that the source had."""
BOX = pa.struct([(side, pa.float32()) for side in ("left", "top", "right", "bottom")])
MARKER = pa.struct([*((side, pa.float32()) for side in ("left", "top", "right", "bottom")), ("text", pa.string())])


def films_schema(cells: int, columns: Sequence[pa.Field] = ()) -> pa.Schema:
    """One row a film; cells: rows x columns of the manifest's grid; columns: the source's own, as it named them."""
    own = [_field(OWN + one.name, one.type, f"the source's own column {one.name}") for one in columns]
    return pa.schema(
        [
            _field("film_id", pa.string(), "unique: the table's id, else the path relative to the source", False),
            _field("path", pa.string(), "relative to the source", False),
            _field("sha256", pa.string(), "hex digest of the file's bytes", False),
            _field("width", pa.int32(), "pixels, upright", False),
            _field("height", pa.int32(), "pixels, upright", False),
            *own,
            _field("report", pa.string(), "the whole text, as written or as given", False),
            _field("complete", pa.bool_(), "the model ended the report itself; true for a given one", False),
            _field("given", pa.bool_(), "somebody else wrote the report", False),
            _field("labels", pa.list_(pa.string()), "canonical findings of the film; null: none were given"),
            _field("patient_id_sha256", pa.string(), "hex digest of the patient's id; null: none was given"),
            _field("gate_warnings", pa.list_(pa.string()), "codes of what is doubtful about the film", False),
            _field("lungs", BOX, "the box round both lungs, shares of the film; null: not found"),
            _field("markers", pa.list_(MARKER), "places of text and side markers, shares of the film", False),
            _field("body", _cells(cells), "of each cell the share inside the body, 0..1, row-major", False),
            _field("resampled", pa.bool_(), "the maps had another grid and were brought to this one by area", False),
            _field("thumbnail", pa.binary(), "JPEG, the longer side 256 pixels", False),
        ]
    )


def words_schema(cells: int, methods: Sequence[str]) -> pa.Schema:
    """One row a word, `finding` included; in the files that column is the folder's name."""
    maps = [
        _field(f"map_{method}", _cells(cells), f"the word's map by {method}, its own sign and mass, row-major", False)
        for method in methods
    ]
    return pa.schema(
        [
            _field("finding", pa.string(), f"canonical finding that the word names, {NO_FINDING} for none", False),
            _field("film_id", pa.string(), "as in the films", False),
            _field("word", pa.int32(), "place in the report, from 0", False),
            _field("text", pa.string(), "the word", False),
            _field("start", pa.int32(), "first character in the report", False),
            _field("end", pa.int32(), "character after its last", False),
            _field("section", pa.string(), "the section it stands in; null: none"),
            _field("finding_index", pa.int32(), "which finding of the report it names; null: none"),
            _field("status", pa.string(), "of that finding: present, uncertain, absent; null: none"),
            _field("side", pa.string(), "of that finding: left, right, bilateral; null: untold"),
            _field("zones", pa.list_(pa.string()), "of that finding", False),
            _field("logprob", pa.float32(), "log p of the word, nats", False),
            _field("unlikely", pa.bool_(), "the model would hardly have written it", False),
            _field("image_mass", pa.float32(), "share of its attention on the film, 0..1", False),
            _field("reliance", pa.float32(), "nats lost with another film; null: not asked, nan: no token wrote it"),
            *maps,
        ]
    )


def failures_schema() -> pa.Schema:
    """One row a film without a report."""
    return pa.schema(
        [
            _field("film_id", pa.string(), "as in the films", False),
            _field("path", pa.string(), "relative to the source", False),
            _field("stage", pa.string(), "read, model or maps", False),
            _field("reason", pa.string(), "a sentence; nothing of the patient", False),
            _field("error", pa.string(), "the error's class", False),
        ]
    )


def columns_told() -> Iterator[str]:
    """The schema for people, a line a column."""
    yield f"schema {SCHEMA_VERSION}"
    cells, method = 256, "<method>"
    tables = {
        "films/*.parquet: one row a film": films_schema(cells, [pa.field("<column>", pa.null())]),
        "words/finding=<name>/*.parquet: one row a word": words_schema(cells, [method]),
        "failures.parquet: one row a film without a report": failures_schema(),
    }
    for title, schema in tables.items():
        yield ""
        yield title
        for field in schema:
            kind = str(field.type).replace("item: ", "").replace(f"[{cells}]", "[rows*columns]")
            own = "as the source has it" if field.name.endswith("<column>") else kind
            yield f"  {field.name:18} {own}: {field.metadata[b'doc'].decode()}"


def _field(name: str, kind: pa.DataType, doc: str, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


def _cells(cells: int) -> pa.DataType:
    return pa.list_(pa.float32(), cells)
