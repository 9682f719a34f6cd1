"""What an audit costs beside the model alone, as ratios of one run."""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from medinterp.audit.places import place_of
from medinterp.audit.reader import Asked, Reader
from medinterp.audit.source import Archive, read_source
from medinterp.evaluation.speed.line import BenchLine

if TYPE_CHECKING:
    from medinterp.audit.pipeline import Progress

DRAWN, SIDE = 16, 512
"""Films that are drawn; an archive has each of them many times."""
BATCH, METHODS = 8, ("layer_weighted", "raw")


@dataclass(frozen=True)
class _Run:
    """seconds: of a film, of the last two thirds of them; peak: of all processes, bytes."""

    seconds: float
    peak: int


def audit_lines(name: str = "phantom", films: int = 400) -> Iterator[BenchLine]:
    """One copy of the model on one thread against the model's loop without anything around it, two copies against one,
    and all films against a tenth of them: seconds of a film, and memory. Starting Ray and loading is not counted.

    Raises as `Reader` does.
    """
    from medinterp.audit.machine import running_ray

    with tempfile.TemporaryDirectory() as folder:
        archive = _archive(Path(folder), films)
        tenth = replace(archive, films=archive.films.slice(0, max(2 * BATCH, films // 10)))
        asked = Asked(name, METHODS, threads=1)
        bare = _Bare(asked, archive)
        alone, runs = [], {}
        for label, some, actors in (("tenth", tenth, 1), ("one", archive, 1), ("two", archive, 2)):
            alone.append(bare.seconds(films // 4))  # on either side of the run that it is held against
            with running_ray(object_store_bytes=512 * 2**20):
                runs[label] = _measured(some, Path(folder) / label, asked, actors)
    what = f"{name}, {films} films, {BATCH} side by side, one thread a copy"
    one, two, few = runs["one"], runs["two"], runs["tenth"]
    rate, bare_rate = "films/s", 1 / statistics.mean(alone[1:])
    yield _line(f"audit, films a second, beside the loop alone ({what})", bare_rate, 1 / one.seconds, rate)
    yield _line(f"audit, films a second of two copies, beside one ({what})", 1 / one.seconds, 1 / two.seconds, rate)
    count = tenth.films.num_rows
    yield _line(f"audit, seconds a film of {films}, beside {count}", few.seconds, one.seconds, "s")
    yield _line(f"audit, peak memory of {films} films, beside {count}", few.peak / 2**20, one.peak / 2**20, "MB")


def _line(name: str, baseline: float, value: float, unit: str) -> BenchLine:
    return BenchLine(name, round(value / baseline, 4), round(baseline, 4), round(value, 4), unit)


class _Bare:
    """The model's loop in this process: the same films, batches and maps, decoded before and written nowhere."""

    def __init__(self, asked: Asked, archive: Archive) -> None:
        from medinterp.imaging import open_film
        from medinterp.model import Generator

        self._reader = Reader(asked, BATCH)
        self._generator = Generator(self._reader.loaded, max_slots=BATCH)
        self._films = [open_film(archive.place.below(path)) for path in archive.films["path"].to_pylist()[:DRAWN]]

    def seconds(self, films: int) -> float:
        """Of a film, from the end of the first batch to that of the last."""
        from medinterp.relevancy import compute_maps

        def one(k: int) -> None:
            generation = self._generator.generate([self._films[k % DRAWN]], layer_attention=False)
            compute_maps(generation.trace, METHODS, {})

        with ThreadPoolExecutor(BATCH) as threads:
            list(threads.map(one, range(BATCH)))
            started = time.perf_counter()
            for first in range(BATCH, films, BATCH):
                list(threads.map(one, range(first, min(first + BATCH, films))))
            return (time.perf_counter() - started) / (films - BATCH)


def _archive(folder: Path, films: int) -> Archive:
    import cv2

    from medinterp.phantom.films import draw_film, sample_film

    for k in range(DRAWN):
        cv2.imwrite(str(folder / f"{k}.png"), draw_film(sample_film(5_000_000 + k), SIDE, SIDE).uint8())
    rows = [{"id": f"film {k}", "path": f"{k % DRAWN}.png"} for k in range(films)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "films.parquet")
    return read_source(folder / "films.parquet")


def _measured(archive: Archive, out: Path, asked: Asked, actors: int) -> _Run:
    import psutil

    from medinterp.audit.pipeline import Room, run

    seen: list[tuple[float, int]] = []
    peak, over = 0, threading.Event()

    def told(progress: Progress) -> None:
        if progress.done and (not seen or progress.done > seen[-1][1]):
            seen.append((progress.at, progress.done))

    def watch() -> None:
        nonlocal peak
        while not over.wait(2.0):
            total = 0
            for one in psutil.Process().children(recursive=True):
                try:
                    total += one.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, total)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        run(archive, place_of(out), asked, Room(actors, BATCH), told=told)
    finally:
        over.set()
        watching.join()
    # A third is left out: all copies are loaded by then.
    (first, done), (last, all_done) = next(one for one in seen if one[1] >= archive.films.num_rows / 3), seen[-1]
    return _Run((last - first) / (all_done - done), peak)
