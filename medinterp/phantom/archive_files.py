"""The planted archive as files: films of three sites, the table, the truth, and the model that belongs to it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medinterp.errors import SelectionError
from medinterp.phantom.archive import (
    BLIND_BOX,
    BLIND_ZONE,
    FILMS_AT_MOST,
    SHORTCUT_FINDING,
    SHORTCUT_MARKER,
    SHORTCUT_SITE,
    Broken,
    Row,
    facts_and_report,
    film_of,
    marker_box,
    plan,
)
from medinterp.phantom.films import Drawing, draw_film

TABLE, TRUTH, MODEL = "table.csv", "truth.json", "model"
COLUMNS = ("path", "id", "patient_id", "site", "view", "scanner", "sex", "age", "labels", "report")
PARTS = ".parts"
"""Where what is done already stands until the table is written."""
CHUNK = 32


def write_archive(films: int, out: Path, *, seed: int = 0, size: int = 512, workers: int | None = None) -> list[Path]:
    """Write an archive of `films` films about `size` pixels wide and high; goes on where it was stopped.

    Returns the table (CSV: COLUMNS; labels are the findings that the report affirms, joined by ";"), the truth (JSON:
    what is planted, and what is on every film) and the folder of the model. Films, table and truth are the same for the
    same numbers, however often it was stopped.
    Raises SelectionError for more than FILMS_AT_MOST films, or where `out` holds an archive of other numbers.
    """
    from tqdm import tqdm

    from medinterp.phantom import archive_model

    if not 1 <= films <= FILMS_AT_MOST:
        raise SelectionError(f"an archive has 1 to {FILMS_AT_MOST} films, not {films}")
    asked = {"films": films, "seed": seed, "size": size}
    table, truth, model = out / TABLE, out / TRUTH, out / MODEL
    if table.is_file():
        _check(json.loads(truth.read_text(encoding="utf-8"))["made_with"], asked, out)
    else:
        begin(out, asked)
        rows = plan(films, seed, size)
        chunks = [rows[k : k + CHUNK] for k in range(0, films, CHUNK)]
        with ProcessPoolExecutor(workers or os.cpu_count() or 1) as executor:
            done = executor.map(write_chunk, chunks, [out] * len(chunks))
            progress = tqdm(done, desc="drawing films", total=len(chunks), unit="part")
            told = [film for part in progress for film in part]
        _write_whole(truth, json.dumps(_truth(asked, rows, told), indent=1) + "\n")
        _write_whole(table, _csv(rows, told))  # the last: an archive with a table is whole
        shutil.rmtree(out / PARTS)
    if not (model / "medinterp.json").is_file():  # what is written last of a model
        archive_model.make_archive_model(model)
    return [table, truth, model]


def begin(out: Path, asked: dict[str, Any]) -> None:
    """Keep what an archive is made with. Raises SelectionError where another one was begun in `out`."""
    begun = out / PARTS / "made_with.json"
    if begun.is_file():
        _check(json.loads(begun.read_text(encoding="utf-8")), asked, out)
    begun.parent.mkdir(parents=True, exist_ok=True)
    _write_whole(begun, json.dumps(asked))


def _check(before: dict[str, Any], asked: dict[str, Any], out: Path) -> None:
    if before != asked:
        was = ", ".join(f"{name} {value}" for name, value in before.items())
        raise SelectionError(f"{out} holds an archive with {was}: give the same numbers, or another directory")


def write_chunk(rows: Sequence[Row], out: Path) -> list[dict[str, Any]]:
    """Write the films of some rows, unless an earlier run did; returns what is on each, and its report."""
    part = out / PARTS / f"{rows[0].id}.json"
    if not part.is_file():
        _write_whole(part, json.dumps([_write_row(row, out) for row in rows]))
    found: list[dict[str, Any]] = json.loads(part.read_text(encoding="utf-8"))
    return found


def _write_row(row: Row, out: Path) -> dict[str, Any]:
    film = film_of(row.seed, row.site)
    drawing = draw_film(film, row.width, row.height)
    facts, told, report = facts_and_report(row, film, drawing)
    write_film(row, drawing, out)
    if row.broken is not None:
        break_file(out / row.path, row.broken)
    return {
        "findings": [asdict(fact) for fact in facts],
        "marker": film.distractors.marker,
        "labels": sorted({fact.name for fact in told}),
        "report": report,
    }


def write_film(row: Row, drawing: Drawing, out: Path) -> None:
    """Write a row's film below `out`, whole."""
    import cv2

    from medinterp.phantom.files import write_dicom

    path = out / row.path
    path.parent.mkdir(parents=True, exist_ok=True)
    if row.suffix == ".dcm":
        write_dicom(drawing.uint16(), path, bits=12, monochrome1=row.site == "C", seed=row.seed)
    else:
        cv2.imwrite(str(path), drawing.uint8())


def break_file(path: Path, broken: Broken) -> None:
    """Break a film's file."""
    if broken == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif broken == "empty":
        path.write_bytes(b"")
    elif broken == "text":
        path.write_text("This is no film.\n", encoding="utf-8")
    elif broken == "missing":
        path.unlink()


def _csv(rows: Sequence[Row], told: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row, film in zip(rows, told, strict=True):
        own = (row.path, row.id, row.patient_id, row.site, row.view, row.scanner, row.sex, row.age)
        table.writerow([*own, ";".join(film["labels"]), film["report"]])
    return text.getvalue()


def _truth(asked: dict[str, Any], rows: Sequence[Row], told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "made_with": asked,
        "shortcut": {
            "finding": SHORTCUT_FINDING,
            "column": "site",
            "value": SHORTCUT_SITE,
            "marker": SHORTCUT_MARKER,
            "box": [round(float(share), 4) for share in marker_box()],
        },
        "blind_spot": {"side": BLIND_ZONE[0], "zone": BLIND_ZONE[1], "box": list(BLIND_BOX)},
        "broken": {row.id: row.broken for row in rows if row.broken},
        "misfits": [row.id for row in rows if row.donor is not None],
        "films": {
            row.id: {"seed": row.seed, "marker": film["marker"], "findings": film["findings"]}
            for row, film in zip(rows, told, strict=True)
        },
    }


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a cut leaves none."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
