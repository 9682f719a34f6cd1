"""What an audit's folder says of an audit under way: what was asked, of which films, with which model, what is done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pd
import pyarrow.parquet as pq
from pyarrow import fs

from medinterp.audit.places import Place
from medinterp.audit.reader import Asked
from medinterp.audit.schema import SCHEMA_VERSION, failures_schema
from medinterp.audit.source import Archive
from medinterp.audit.tables import FAILURE_PARTS, FILMS, MANIFEST, WORDS, write_end
from medinterp.errors import DatasetError, ModelError

PLAN, MODEL, INDEX, COMMITTED = "state/plan.json", "state/model.json", "state/films.parquet", "state/checkpoint"


def begin(place: Place, archive: Archive, asked: Asked) -> Mapping[str, Any]:
    """Write down what is asked, or see that it is what was asked before.

    Raises DatasetError for a folder that an audit of something else has begun in.
    """
    plan = {
        "schema": SCHEMA_VERSION,
        "model": asked.model,
        "revision": asked.revision,
        "methods": list(asked.methods),
        "reliance": asked.reliance,
        "prompt": asked.prompt,
        "max_new_tokens": asked.max_new_tokens,
        "force": asked.force,
        "columns": [[field.name, str(field.type)] for field in asked.columns],
        "kind": archive.kind,
    }
    if there(place, PLAN):
        before = json.loads(place.read(PLAN))
        other = [name for name in plan if before.get(name) != plan[name]]
        if other:
            raise DatasetError(
                f"an audit with another {', '.join(other)} was begun in this folder: ask for the same again to go on, "
                "or name another folder"
            )
        plan = before
    else:
        plan["started"] = now()
        place.write(PLAN, (json.dumps(plan, indent=2) + "\n").encode())
    # For the time until it ends again the audit has no manifest.
    if there(place, MANIFEST):
        place.filesystem.delete_file(place.below(MANIFEST))
    return plan


def agree_on_model(place: Place, facts: Mapping[str, Any]) -> None:
    """Write down which model reads, or see that it is the one that has read before. Raises ModelError."""
    if not there(place, MODEL):
        place.write(MODEL, (json.dumps(facts, indent=2) + "\n").encode())
        return
    before = json.loads(place.read(MODEL))
    for name in ("revision", "dtype"):
        if before["model"][name] != facts["model"][name]:
            raise ModelError(
                f"this audit was begun with a model of {name} {before['model'][name]}, and this one has "
                f"{facts['model'][name]}: name another folder"
            )


def committed(place: Place) -> set[str]:
    """The ids of the films that are done, failures among them."""
    return {
        one
        for path in _parquets(place, COMMITTED)
        if not path.endswith(".pending.parquet")
        for one in _read(place, path)["film_id"].to_pylist()
    }


def forget_failures(place: Place) -> int:
    """Have the films that failed read again by the next run; returns how many.

    First they are taken out of what is done, then out of the failures: cut off between, they are in both, and the end
    looks at what was read.
    """
    failed = set(failures(place)["film_id"].to_pylist())
    for path in _parquets(place, COMMITTED):
        ids = _read(place, path)
        kept = ids.filter(pc.invert(pc.is_in(ids["film_id"], pa.array(list(failed), pa.string()))))
        if kept.num_rows < ids.num_rows:
            with place.filesystem.open_output_stream(path) as file:
                pq.write_table(kept, file)
    for path in _parquets(place, FAILURE_PARTS):
        place.filesystem.delete_file(path)
    return len(failed)


def failures(place: Place) -> pa.Table:
    """All failures so far."""
    parts = [_read(place, path) for path in _parquets(place, FAILURE_PARTS)]
    return pa.concat_tables([failures_schema().empty_table(), *parts])


def end(place: Place, archive: Archive, asked: Asked, seconds: float) -> Mapping[str, Any]:
    """Write failures.parquet and manifest.json; returns what the latter says."""
    plan = json.loads(place.read(PLAN))
    facts = json.loads(place.read(MODEL)) if there(place, MODEL) else {"model": None, "grid": None}
    films, words = (_parquets(place, folder) for folder in (FILMS, WORDS))
    read = pd.dataset(films, filesystem=place.filesystem).to_table(["film_id"])["film_id"].to_pylist() if films else []
    failed = failures(place)
    failed = failed.filter(pc.invert(pc.is_in(failed["film_id"], pa.array(read, pa.string()))))
    import medinterp

    manifest = {
        "medinterp": medinterp.__version__,
        **facts,
        "methods": list(asked.methods),
        "given_reports": archive.films["report"].null_count < archive.films.num_rows,
        "reliance": asked.reliance,
        "columns": [field.name for field in asked.columns],
        "source": {"kind": archive.kind, "films": archive.films.num_rows},
        "films": len(read),
        "failed": failed.num_rows,
        "words": pd.dataset(words, filesystem=place.filesystem).count_rows() if words else 0,
        "started": plan["started"],
        "ended": now(),
        "seconds": round(seconds, 1),
    }
    write_end(place, manifest, failed)
    return manifest


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def there(place: Place, name: str) -> bool:
    """Whether a file is in the folder."""
    return bool(place.filesystem.get_file_info(place.below(name)).type == fs.FileType.File)


def write_index(place: Place, films: pa.Table) -> None:
    """Write the films that a run is to read, for Ray Data to read them."""
    place.filesystem.create_dir(place.below("state"), recursive=True)
    with place.filesystem.open_output_stream(place.below(INDEX)) as file:
        pq.write_table(films, file, compression="zstd")


def _parquets(place: Place, folder: str) -> list[str]:
    chosen = fs.FileSelector(place.below(folder), recursive=True, allow_not_found=True)
    found = place.filesystem.get_file_info(chosen)
    return sorted(info.path for info in found if info.type == fs.FileType.File and info.path.endswith(".parquet"))


def _read(place: Place, path: str) -> pa.Table:
    with place.filesystem.open_input_file(path) as file:
        return pq.read_table(file)
