"""The reading room's page of single films of an audit, beside the audit's own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from medinterp.audit.places import place_of
from medinterp.audit.tables import Audit
from medinterp.errors import SelectionError

ROOMS = "rooms"


def room_name(film_id: str) -> str:
    """The file that a film's page is: its id, whatever a file cannot be called replaced by its number."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda found: f"_{ord(found[0]):x}_", film_id) + ".html"


def write_rooms(
    audit: Audit,
    film_ids: Sequence[str],
    source: Any,
    model: str | None = None,
    *,
    told: Callable[[str], None] | None = None,
) -> list[str]:
    """Explain films of an audit again, the report that it has of each, and write their pages; returns the paths.

    source: what was audited, the folder or the table; model: by default the one that the audit names; told: gets each
    path as it is written. Raises SelectionError for a film that the audit has not, ModelError where the weights are of
    another revision, and as `Explainer.explain` does.
    """
    from medinterp import export
    from medinterp.explainer import Explainer

    table = audit.films(["film_id", "path", "report"])
    rows = []
    for film_id in film_ids:
        found = table.filter(pc.equal(table["film_id"], film_id)).to_pylist()
        if not found:
            raise SelectionError(f"the audit has no film {film_id!r}: see its films/ and failures.parquet for the ids")
        rows += found
    if not rows:
        return []
    place = place_of(source)
    if place.filesystem.get_file_info(place.path).is_file:
        place = place_of(str(source).rpartition("/")[0] or Path.cwd())
    explainer = Explainer.from_pretrained(model or audit.manifest["model"]["id"], check=False)
    written = []
    for row in rows:
        data = place.read(row["path"])
        explanation = explainer.explain(data, report=row["report"], methods=audit.manifest["methods"], force=True)
        path = f"{ROOMS}/{room_name(row['film_id'])}"
        audit.place.write(path, export.html(explanation).encode())
        written.append(audit.place.below(path))
        if told is not None:
            told(written[-1])
    return written
