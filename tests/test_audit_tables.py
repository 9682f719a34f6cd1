"""An audit's folder: read by pyarrow, polars and duckdb, cleaned of what a killed step left, told by the schema."""

from __future__ import annotations

from pathlib import Path

import duckdb
import polars
import pyarrow as pa
import pytest

from medinterp.audit import open_audit, state
from medinterp.audit.places import place_of
from medinterp.audit.reader import Asked
from medinterp.audit.schema import failures_schema, films_schema, words_schema
from medinterp.audit.sink import CHECKPOINT, take_away_pending
from medinterp.audit.source import read_source
from medinterp.audit.tables import write_audit, write_part
from medinterp.cli import audit, main
from medinterp.errors import DatasetError, ModelError
from tests.audit_samples import CELLS, film_table, word_table


def test_what_is_written_is_read_by_finding_and_by_column(tmp_path: Path) -> None:
    words = word_table("a", "none", "rib fracture", "none")
    audit = write_audit(tmp_path, {"grid": [2, 2]}, film_table("a", "b"), words)
    assert audit.grid == (2, 2)
    assert audit.films(["film_id", "src_site"]).to_pylist() == [{"film_id": one, "src_site": "A"} for one in "ab"]
    assert audit.findings() == ["none", "rib fracture"]
    (batch,) = audit.words(["word", "finding", "map_raw"], "rib fracture")
    assert batch.to_pylist() == [{"word": 1, "finding": "rib fracture", "map_raw": [1.0, 0.0, 0.5, 1.0]}]
    assert sum(batch.num_rows for batch in audit.words(batch_rows=1)) == 3
    assert audit.failures().num_rows == 0


def test_the_maps_are_read_without_us(tmp_path: Path) -> None:
    write_audit(tmp_path, {"grid": [2, 2]}, film_table("a"), word_table("a", "none", "pleural effusion"))
    pattern = f"{tmp_path}/words/**/*.parquet"
    by_polars = polars.read_parquet(pattern, hive_partitioning=True).filter(polars.col("finding") == "pleural effusion")
    assert by_polars.schema["map_raw"] == polars.Array(polars.Float32, CELLS)
    assert by_polars["map_raw"].to_list() == [[1.0, 0.0, 0.5, 1.0]]
    table = f"read_parquet('{pattern}', hive_partitioning = true)"
    asked = f"select map_raw from {table} where finding = 'pleural effusion'"
    assert duckdb.sql(asked).fetchall() == [([1.0, 0.0, 0.5, 1.0],)]


def test_a_folder_that_is_no_audit_or_none_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="run it again"):
        open_audit(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema": 2}')
    with pytest.raises(DatasetError, match="schema 2; schema 1 is read"):
        open_audit(tmp_path)


def test_every_column_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "schema"]) == 0
    told = capsys.readouterr().out
    schemas = films_schema(CELLS), words_schema(CELLS, ["<method>"]), failures_schema()
    for field in (field for schema in schemas for field in schema):
        assert f"  {field.name:18} " in told and len(field.metadata[b"doc"]) > 5
    assert "fixed_size_list<float>[rows*columns]" in told


def test_a_step_that_was_cut_off_leaves_nothing_and_others_stay(tmp_path: Path) -> None:
    place = place_of(tmp_path)
    for name in ("x_000001", "x_000002"):
        write_part(place, name, film_table(name), word_table(name, "none", "nodule"), None)
    folder = tmp_path / CHECKPOINT
    folder.mkdir(parents=True)
    (folder / "x_000001.pending.parquet").write_bytes(b"")
    (folder / "x_000002.parquet").write_bytes(b"")
    assert take_away_pending(place) == 1
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")}
    assert left == {
        "films/x_000002.parquet",
        "words/finding=none/x_000002.parquet",
        "words/finding=nodule/x_000002.parquet",
        f"{CHECKPOINT}/x_000002.parquet",
    }


def test_an_audit_goes_on_only_as_it_was_begun(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    archive, place = read_source(tmp_path / "films"), place_of(tmp_path / "out")
    state.begin(place, archive, Asked("phantom", ("raw",)))
    state.begin(place, archive, Asked("phantom", ("raw",), threads=3))
    with pytest.raises(DatasetError, match="another methods, reliance"):
        state.begin(place, archive, Asked("phantom", ("grad",), reliance=True))
    facts = {"model": {"revision": "one", "dtype": "float32"}}
    state.agree_on_model(place, facts)
    state.agree_on_model(place, facts)
    with pytest.raises(ModelError, match="of revision one, and this one has two"):
        state.agree_on_model(place, {"model": {"revision": "two", "dtype": "float32"}})


def test_failures_are_forgotten_when_they_are_to_be_tried_again(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    place = place_of(tmp_path)
    failure = {"film_id": "b", "path": "b.png", "stage": "read", "reason": "It is broken.", "error": "FilmError"}
    write_part(place, "x", film_table("a"), None, pa.Table.from_pylist([failure], schema=failures_schema()))
    (tmp_path / CHECKPOINT).mkdir(parents=True)
    pq.write_table(pa.table({"film_id": ["a", "b"]}), tmp_path / CHECKPOINT / "x.parquet")
    assert state.committed(place) == {"a", "b"}
    assert state.forget_failures(place) == 1
    assert state.committed(place) == {"a"} and state.failures(place).num_rows == 0


def test_a_source_behind_the_command_is_run_and_a_command_is_not() -> None:
    assert audit.completed(["audit", "films", "--out", "x"]) == ["audit", "run", "films", "--out", "x"]
    for given in (["audit", "run", "films"], ["audit", "schema"], ["audit", "--help"], ["explain", "audit"], []):
        assert audit.completed(given) == given


def test_what_cannot_be_asked_is_said_before_ray_is_started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert main(["audit", str(tmp_path), "--out", out, "--methods", "raw,rwa"]) == 2
    assert "rwa" in capsys.readouterr().err
    assert main(["audit", str(tmp_path / "nowhere"), "--out", out]) == 2
    assert "is not there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
