"""What an audit would cost: a few films are read as the audit would read them."""

from __future__ import annotations

import io
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from medinterp.audit.looking import look_at
from medinterp.audit.reader import Asked, Reader
from medinterp.audit.rows import packed_rows, unpacked_rows
from medinterp.audit.source import HEADER_COLUMNS, Archive

TRIED = 3
RAY_MB = 600
"""What Ray itself and the processes that decode and write take, about."""


@dataclass(frozen=True)
class Estimate:
    """kind, films, given: what was found, and how many have a report; asked, actors: what is asked; seconds, stored:
    of a film, bytes on disk; memory: of a copy of the model, bytes; tried, failed: films that were read for this."""

    kind: str
    films: int
    given: int
    asked: Asked
    actors: int
    seconds: float
    stored: float
    memory: int
    tried: int
    failed: int

    def told(self) -> Iterator[str]:
        """For people, a line a fact."""
        yield f"films: {self.films} ({self.kind}), {self.given} with a report that is explained, the others are written"
        reliance = ", and what every word loses without the film" if self.asked.reliance else ""
        yield f"asked: {self.asked.model}, maps by {', '.join(self.asked.methods)}{reliance}"
        failed = f", {self.failed} of them without a report" if self.failed else ""
        yield f"measured: {self.tried} films, {self.seconds:.2f} s each{failed}"
        whole = self.films * self.seconds / self.actors
        yield f"time: about {_duration(whole)} with {self.actors} cop{'y' if self.actors == 1 else 'ies'} of the model"
        yield f"disk: about {self.films * self.stored / 2**20:.0f} MB"
        yield f"memory: about {self.actors * self.memory / 2**20 + RAY_MB:.0f} MB, and the object store's"


def estimate(archive: Archive, asked: Asked, actors: int, batch: int) -> Estimate:
    """Read the first films that can be read, without Ray. Raises as `Reader` does."""
    headers = archive.columns == HEADER_COLUMNS
    rows = archive.films.slice(0, TRIED).to_pylist()
    reader = Reader(asked, min(batch, TRIED))
    looked = [look_at(archive.place, row, headers=headers) for row in rows]
    reader.read(looked[:1])  # the first film finds the model cold
    started = time.perf_counter()
    found = reader.read(looked)
    seconds = (time.perf_counter() - started) / len(looked)
    together = unpacked_rows(packed_rows(found))
    failed = sum(one.failure is not None for one in found)
    stored = sum(_stored(table) for table in (together.film, together.words) if table is not None)
    return Estimate(
        archive.kind,
        archive.films.num_rows,
        archive.films.num_rows - archive.films["report"].null_count,
        asked,
        actors,
        seconds,
        stored / max(1, len(found) - failed),
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        len(found),
        failed,
    )


def _stored(table: pa.Table) -> int:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return len(file.getvalue())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
