"""The pipeline on Ray Data: the films' index, decoding in tasks, the model in a pool of actors, the tables' files.

Read -> (what is done is left out) -> look -> model -> write. Each arrow is a block of one batch of films; what waits
between two is bounded by Ray Data's own backpressure within `Room`, and nothing is spilled onto a disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy, DataContext

from medinterp.audit import state
from medinterp.audit.looking import Looked, look_at, packed, unpacked
from medinterp.audit.places import Place
from medinterp.audit.reader import Asked, Reader
from medinterp.audit.rows import Rows, failed, packed_rows
from medinterp.audit.sink import AuditSink, checkpoint
from medinterp.audit.source import HEADER_COLUMNS, Archive
from medinterp.errors import ModelError

DIED = "The model's process ended twice while it read this film alone."
POLL_S = 1.0
FILES = 100
"""So many steps an audit is written in at least: what is under way when it is cut off is read again."""
MOST_FILMS_A_FILE = 64


@dataclass(frozen=True)
class Room:
    """actors: copies of the model; batch: films that each reads side by side; gpus, cpus: of each copy; look_cpus: of a
    task that decodes; object_bytes: what may lie between the stages, None for half of the object store."""

    actors: int = 1
    batch: int = 8
    gpus: float = 0.0
    cpus: float = 1.0
    look_cpus: float = 0.5
    object_bytes: int | None = None


@dataclass(frozen=True)
class Progress:
    """done: films read, or failed, in all runs, of `of`; failed: of this run; before: of earlier runs; at: when the
    last of them was, s since 1970."""

    done: int
    failed: int
    of: int
    before: int
    at: float


class Tally:
    """Counts, for the terminal; and how often a film was begun, for a film that takes the model's process with it."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.at = time.time()
        self._begun: dict[tuple[str, ...], int] = {}

    def begin(self, film_ids: tuple[str, ...]) -> int:
        """How often these films were begun together and did not come to an end, this time among them."""
        self._begun[film_ids] = self._begun.get(film_ids, 0) + 1
        return self._begun[film_ids]

    def survived(self, film_ids: tuple[str, ...]) -> None:
        """What read these films together lives."""
        self._begun.pop(film_ids, None)

    def end(self, done: int, failed: int) -> None:
        """Some films have come to their end."""
        self.done += done
        self.failed += failed
        self.at = time.time()

    def counts(self) -> tuple[int, int, float]:
        """Films done, failed ones among them, and when the last was."""
        return self.done, self.failed, self.at


class ModelActor:
    """A copy of the model in an actor of Ray Data."""

    reader_class: type[Reader] = Reader

    def __init__(self, asked: Asked, batch: int, place: Place, tally: Any) -> None:
        self._reader = self.reader_class(asked, batch)
        self._tally = tally
        state.agree_on_model(place, self._reader.facts())

    def __call__(self, block: pa.Table) -> pa.Table:
        """A block of looked-at films becomes a block of their rows."""
        looked = unpacked(block)
        ids = tuple(one.row["film_id"] for one in looked)
        if ray.get(self._tally.begin.remote(ids)) == 1:
            rows = self._reader.read(looked)
        else:  # the process that had these died: one film may have been why
            rows = [self._alone(one) for one in looked]
        self._tally.survived.remote(ids)
        self._tally.end.remote(len(rows), sum(one.failure is not None for one in rows))
        return packed_rows(rows)

    def _alone(self, looked: Looked) -> Rows:
        alone = ("alone", looked.row["film_id"])
        if ray.get(self._tally.begin.remote(alone)) > 2:
            return failed(looked.row, "model", DIED, "WorkerDied")
        rows = self._reader.read([looked])[0]
        self._tally.survived.remote(alone)
        return rows


def run(
    archive: Archive,
    place: Place,
    asked: Asked,
    room: Room,
    *,
    limit: int | None = None,
    told: Callable[[Progress], None] = lambda progress: None,
    actor: type[ModelActor] = ModelActor,
) -> Mapping[str, Any]:
    """Audit what is not done yet of an archive, and end with the manifest, which is returned.

    Ray is running. limit: read so many films at most in this run. Raises DatasetError for a folder of another audit,
    ModelError for a model that cannot be loaded, and what stops Ray Data.
    """
    started = time.monotonic()
    state.begin(place, archive, asked)
    done = state.committed(place)
    films = archive.films
    left = films.filter(pa.array([one not in done for one in films["film_id"].to_pylist()], pa.bool_()))
    if left.num_rows:
        # Only these are read: a limit behind Ray's own filter would be handed on to what reads, before the filter.
        state.write_index(place, left.slice(0, limit))
        before = films.num_rows - left.num_rows
        _stream(archive, place, asked, room, (before, films.num_rows), told, actor)
    return state.end(place, archive, asked, time.monotonic() - started)


def _stream(
    archive: Archive,
    place: Place,
    asked: Asked,
    room: Room,
    counts: tuple[int, int],
    told: Callable[[Progress], None],
    actor: type[ModelActor],
) -> None:
    before, films = counts
    context = DataContext.get_current()
    context.enable_progress_bars = False  # the command has its own; Ray's dashboard shows each stage
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context.checkpoint_config = checkpoint(place)
    context.execution_options.preserve_order = False
    store = int(ray.cluster_resources().get("object_store_memory", 0))  # type: ignore[no-untyped-call]
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=room.object_bytes or store // 2
    )
    tally: Any = ray.remote(Tally).options(num_cpus=0, max_restarts=-1).remote()
    headers = archive.columns == HEADER_COLUMNS
    place_of_films = archive.place

    def look(block: pa.Table) -> pa.Table:
        import cv2

        cv2.setNumThreads(1)  # films are side by side in tasks, not in threads
        return packed([look_at(place_of_films, row, headers=headers) for row in block.to_pylist()])

    data = ray.data.read_parquet(place.below(state.INDEX), filesystem=place.filesystem)
    data.set_name("audit")
    data = data.repartition(target_num_rows_per_block=room.batch)
    data = data.map_batches(
        look, batch_size=room.batch, batch_format="pyarrow", num_cpus=room.look_cpus, zero_copy_batch=True
    )
    data = data.map_batches(
        actor,
        batch_size=room.batch,
        batch_format="pyarrow",
        zero_copy_batch=True,
        fn_constructor_args=(asked, room.batch, place, tally),
        num_cpus=room.cpus,
        num_gpus=room.gpus or None,
        # Two batches are under way in a copy, so that its slots are not empty while the last report of one is written.
        compute=ActorPoolStrategy(
            size=room.actors,
            max_tasks_in_flight_per_actor=2,
            max_concurrent_calls_per_actor=2,
            enable_true_multi_threading=True,
        ),
    )
    sink = AuditSink(place, max(1, min(MOST_FILMS_A_FILE, films // FILES)))
    ending = threading.Event()

    def tell() -> None:
        done, failures, at = ray.get(tally.counts.remote())
        told(Progress(before + done, failures, films, before, at))

    def watch() -> None:
        while not ending.wait(POLL_S):
            tell()

    watching = threading.Thread(target=watch, name="the audit's progress", daemon=True)
    watching.start()
    try:
        data.write_datasink(sink, ray_remote_args={"num_cpus": 0.25})
    except ray.exceptions.RayTaskError as error:
        cause = error.as_instanceof_cause()  # type: ignore[no-untyped-call]
        if isinstance(cause, ModelError):
            raise cause from None
        raise
    finally:
        context.checkpoint_config = None
        ending.set()
        watching.join()
    tell()
