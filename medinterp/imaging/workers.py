"""Decoding in worker processes: what a stranger's file costs, one of them bears, and no more than it may."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from medinterp.errors import ServiceBusyError, ServiceInterruptedError
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.worker_process import NOT_READY, WorkerProcess
from medinterp.types import Film

READ_FILM = "medinterp.imaging.film:read_film"
END_S = 10.0


@dataclass(frozen=True)
class DecodingLimits:
    """workers: films decoded at once; queue: films that may wait; of one film memory_bytes beyond the worker's own,
    cpu_s: seconds of computing, wall_s: seconds in all."""

    workers: int = 2
    queue: int = 64
    memory_bytes: int = 2**30
    cpu_s: int = 10
    wall_s: float = 20.0


class DecodingPool:
    """A few worker processes that decode films; one over its limits is killed, and another takes its place.

    For one event loop at a time.
    """

    def __init__(
        self,
        limits: FilmLimits | None = None,
        decoding: DecodingLimits | None = None,
        *,
        reader: str = READ_FILM,
    ) -> None:
        """No process is started yet. reader: module:function with the signature of imaging.read_film."""
        self._limits = limits or FilmLimits()
        self._decoding = decoding or DecodingLimits()
        self._reader = reader
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decoding workers are started")
        self._idle: list[WorkerProcess] = []
        self._busy: set[WorkerProcess] = set()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        return tuple(worker.pid for worker in (*self._idle, *self._busy))

    @property
    def workers(self) -> int:
        """Workers that are alive, or about to be."""
        return sum(worker.alive for worker in (*self._idle, *self._busy))

    @property
    def waiting(self) -> int:
        """Films that wait for a worker."""
        return len(self._waiting)

    def limit(self, limits: FilmLimits) -> None:
        """From the next film on these hold."""
        self._limits = limits

    def warm(self) -> None:
        """Start the workers that are missing, without waiting for them to be ready."""
        while not self._closed and len(self._idle) + len(self._busy) < self._decoding.workers:
            self._idle.append(WorkerProcess(self._reader, self._decoding.memory_bytes, self._starter))

    async def read(self, data: bytes, *, window: str | None = None) -> Film:
        """Decode a film in a worker; when the caller is cancelled, that worker is killed.

        Raises what imaging.read_film does, FilmTooLargeError also for a film that takes more memory, computing or time
        than it may, ServiceBusyError when too many films wait, ServiceInterruptedError when no worker can be had.
        """
        await self._enter()
        try:
            worker = self._worker()
            try:
                return await worker.read(
                    data, self._limits, window, cpu_s=self._decoding.cpu_s, wall_s=self._decoding.wall_s
                )
            finally:
                self._back(worker)
        finally:
            self._leave()

    def close(self) -> None:
        """End all workers, and wait until they are gone; who reads a film just now gets ServiceInterruptedError."""
        self._closed = True
        for gone in [worker.end() for worker in (*self._idle, *self._busy)]:
            gone.join(END_S)
        self._starter.shutdown()
        while self._idle:
            self._idle.pop().kill()

    def _worker(self) -> WorkerProcess:
        """One that is alive, and of those the one that has decoded last: it is the likeliest to be ready."""
        for worker in [worker for worker in self._idle if not worker.alive]:
            self._idle.remove(worker)
            worker.kill()
        self.warm()
        if not self._idle:
            raise ServiceInterruptedError(NOT_READY)
        worker = self._idle.pop(0)
        self._busy.add(worker)
        return worker

    def _back(self, worker: WorkerProcess) -> None:
        self._busy.discard(worker)
        if worker.fit and not self._closed:
            self._idle.insert(0, worker)
            return
        worker.kill()
        self.warm()

    async def _enter(self) -> None:
        """Take a place, or wait for one in turn. Raises ServiceBusyError."""
        if self._taken < self._decoding.workers:
            self._taken += 1
            return
        if len(self._waiting) >= self._decoding.queue:
            raise ServiceBusyError("too many films are being decoded; try again shortly")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn had come
                self._leave()
            with suppress(ValueError):
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        """Hand the place on to the next who waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._taken -= 1
