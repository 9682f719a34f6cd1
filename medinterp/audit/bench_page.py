"""What reading the word table of a large audit and building its page cost, beside what they may."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from medinterp.audit.places import place_of
from medinterp.audit.schema import NO_FINDING, failures_schema, films_schema, words_schema
from medinterp.audit.tables import open_audit, write_end, write_part
from medinterp.evaluation.speed.line import BenchLine
from medinterp.phantom.films import draw_film, sample_film
from medinterp.phantom.findings import NAMES

FILMS, WORDS = 10_000, 60
SECONDS, MEGABYTES = 20.0, 1024.0
"""What it may take."""
GRID, COLUMNS, PART = (16, 16), ("site", "view", "scanner"), 500
METHODS = ("layer_weighted", "raw")


def page_lines(films: int = FILMS) -> Iterator[BenchLine]:
    """Made-up tables of `films` films with 60 words each, a quarter of which names a finding: seconds, and memory."""
    with tempfile.TemporaryDirectory() as folder:
        _write(folder, films)
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:  # a process of its own: its peak
            seconds, peak = one.submit(_page, folder).result()
    what = f"audit's page of {films * WORDS:,} words"
    yield BenchLine(f"{what}, beside what it may take", round(seconds / SECONDS, 4), SECONDS, round(seconds, 2), "s")
    yield BenchLine(f"{what}, peak memory", round(peak / MEGABYTES, 4), MEGABYTES, round(peak, 1), "MB")


def _page(folder: str) -> tuple[float, float]:
    """Seconds, and the peak of this process in MB, as Linux tells it (ru_maxrss would count the parent's too)."""
    from medinterp.audit.page import write_page

    started = time.perf_counter()
    write_page(open_audit(folder))
    seconds = time.perf_counter() - started
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return seconds, int(peak.split()[1]) / 1024


def _write(folder: str, films: int) -> None:
    rng, place = np.random.default_rng(0), place_of(folder)
    cells = GRID[0] * GRID[1]
    thumbnail = cv2.imencode(".jpg", draw_film(sample_film(5_000_000), 256, 256).uint8())[1].tobytes()
    own = [pa.field(name, pa.string()) for name in COLUMNS]
    for start in range(0, films, PART):
        ids = [f"film {k:06d}" for k in range(start, min(start + PART, films))]
        rows = pa.Table.from_pylist([_film(name, cells, rng, thumbnail) for name in ids], films_schema(cells, own))
        write_part(place, f"part-{start}", rows, _words(ids, cells, rng), None)
    model = {"id": "made up", "notice": None, "dtype": "float32"}
    facts = {"model": model, "methods": list(METHODS), "grid": list(GRID)}
    counts = {"films": films, "failed": 0, "words": films * WORDS, "ended": ""}
    said = {"given_reports": True, "reliance": False, "columns": list(COLUMNS)}
    write_end(place, facts | counts | said, failures_schema().empty_table())


def _film(name: str, cells: int, rng: np.random.Generator, thumbnail: bytes) -> dict[str, object]:
    return {
        "film_id": name,
        "path": name,
        "sha256": "",
        "width": 512,
        "height": 512,
        **{f"src_{column}": "ABC"[int(rng.integers(3))] for column in COLUMNS},
        "report": "word. " * WORDS,
        "complete": True,
        "given": True,
        "labels": ["nodule"],
        "patient_id_sha256": name,
        "gate_warnings": [],
        "lungs": {"left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.75},
        "markers": [],
        "body": np.ones(cells, dtype=np.float32),
        "resampled": False,
        "thumbnail": thumbnail,
    }


def _words(ids: list[str], cells: int, rng: np.random.Generator) -> pa.Table:
    count = len(ids) * WORDS
    word = np.tile(np.arange(WORDS), len(ids))
    names = word % 4 == 0
    logprob = -rng.exponential(0.3, count)
    columns = {
        "finding": np.where(names, rng.choice(NAMES, count), NO_FINDING),
        "film_id": np.repeat(ids, WORDS),
        "word": word,
        "text": ["word"] * count,
        "start": word * len("word. "),
        "end": word * len("word. ") + len("word"),
        "section": [None] * count,
        "finding_index": [int(k) // 4 if one else None for k, one in zip(word, names, strict=True)],
        "status": [("present" if rng.random() < 0.3 else "absent") if one else None for one in names],
        "side": ["left" if one else None for one in names],
        "zones": [["mid"] if one else [] for one in names],
        "logprob": logprob,
        "unlikely": logprob < -6.9,
        "image_mass": np.full(count, 0.5),
        "reliance": [None] * count,
    }
    schema = words_schema(cells, METHODS)
    arrays = [pa.array(columns[field.name], field.type) for field in schema if field.name in columns]
    for _ in METHODS:
        values = pa.array(rng.random(count * cells, dtype=np.float32))
        arrays.append(pa.FixedSizeListArray.from_arrays(values, cells))
    return pa.Table.from_arrays(arrays, schema=schema)
