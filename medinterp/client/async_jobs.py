"""Jobs and batches of the client for asyncio."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from medinterp.client import job_calls
from medinterp.client.answers import Batch, Job
from medinterp.client.errors import UnreachableError

if TYPE_CHECKING:
    from medinterp.client.asynchronous import AsyncClient, AsyncRemoteReport


class AsyncRemoteJob:
    """A report that is made while nobody waits; it goes on when this program ends."""

    def __init__(self, client: AsyncClient, job: Job) -> None:
        self._client, self.job = client, job

    def __repr__(self) -> str:
        """Too little of its id to call it off with."""
        return f"<{type(self).__name__} {self.id[:8]}..., {self.job.state}>"

    @property
    def id(self) -> str:
        """By which `AsyncClient.job` finds it again."""
        return self.job.id

    async def refresh(self) -> Job:
        """How far it is now. Raises JobNotFoundError once it was forgotten."""
        self.job = await self._client._send(job_calls.get_job(self.id))
        return self.job

    async def wait(
        self, within_s: float | None = None, *, on_change: Callable[[Job], object] | None = None
    ) -> AsyncRemoteReport:
        """Its report, once it is done. Raises the problem that it failed by, GenerationCancelled, UnreachableError."""
        until = None if within_s is None else time.monotonic() + within_s
        for pause in itertools.chain(job_calls.POLL_S, itertools.repeat(job_calls.POLL_S[-1])):
            before, job = self.job, self.job if self.job.ended else await self.refresh()
            if on_change is not None and job != before:
                on_change(job)
            if job.ended:
                if (problem := job_calls.failure(job)) is not None:
                    raise problem
                return await self._client.get(job.report)
            if until is not None and time.monotonic() > until:
                raise UnreachableError(f"the job was not done within {within_s:g} s; it goes on")
            await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def cancel(self) -> None:
        """Call it off; one that has ended is forgotten, its report stays."""
        await self._client._send(job_calls.delete_job(self.id))


class AsyncRemoteBatch:
    """Films that were sent together, a job each, in their order."""

    def __init__(self, client: AsyncClient, batch: Batch) -> None:
        self._client, self.batch = client, batch

    def __repr__(self) -> str:
        """Too little of its id to call it off with."""
        return f"<{type(self).__name__} {self.id[:8]}..., {len(self.batch.jobs)} jobs>"

    @property
    def id(self) -> str:
        """By which `AsyncClient.get_batch` finds it again."""
        return self.batch.id

    @property
    def jobs(self) -> tuple[AsyncRemoteJob, ...]:
        """As they were when they were last looked at; `wait` gives each one's report, or raises its problem."""
        return tuple(AsyncRemoteJob(self._client, job) for job in self.batch.jobs)

    async def refresh(self) -> Batch:
        """How far it is now. Raises JobNotFoundError once it was forgotten."""
        self.batch = await self._client._send(job_calls.get_batch(self.id))
        return self.batch

    async def wait(self, within_s: float | None = None, *, on_change: Callable[[Batch], object] | None = None) -> Batch:
        """Return when every job has ended, well or not. Raises UnreachableError when that is not within so long."""
        until = None if within_s is None else time.monotonic() + within_s
        while True:
            before, batch = self.batch, await self.refresh()
            if on_change is not None and batch != before:
                on_change(batch)
            if batch.state == "ended":
                return batch
            if until is not None and time.monotonic() > until:
                raise UnreachableError(f"the batch was not done within {within_s:g} s; it goes on")
            await asyncio.sleep(job_calls.POLL_S[-1])

    async def cancel(self) -> None:
        """Call every job off that has not ended; reports that were made stay."""
        await self._client._send(job_calls.delete_batch(self.id))
