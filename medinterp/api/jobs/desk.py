"""The desk where jobs are handed in, looked at, waited for and called off, by the owner of the request."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace

from medinterp.api.access.principal import VISIT
from medinterp.api.caller import CALLER
from medinterp.api.jobs.ledger import NO_BATCH, NOT_FOUND, Ledger
from medinterp.api.jobs.record import Batch, Job, Stored
from medinterp.api.jobs.running import Runner
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.report_id import is_report_id, new_report_id
from medinterp.api.store import ReportStore
from medinterp.api.work import ExportWork, Question, ReportWork
from medinterp.errors import (
    JobCancelledError,
    JobNotEndedError,
    JobNotFoundError,
    MedInterpError,
    ServiceBusyError,
)
from medinterp.web.request_id import REQUEST_ID

FOLLOW_S = 0.25
"""How often a job is looked at by who waits for it."""
FULL_S = 30


class Desk:
    """What routes ask of jobs. Each call sees the caller's jobs only; another's id is found nowhere."""

    def __init__(self, ledger: Ledger, runner: Runner, store: ReportStore, settings: JobSettings) -> None:
        """ledger: of all owners; store: narrowed to the caller."""
        self._ledger, self._runner, self._store, self._settings = ledger, runner, store, settings

    @property
    def _mine(self) -> Ledger:
        visit = VISIT.get()
        return self._ledger.of(None if visit is None else visit.owner)

    async def create(
        self, work: Question | ExportWork | ReportWork, films: Sequence[bytes] = (), job_id: str | None = None
    ) -> Stored:
        """Hand in a job, by this id unless there is one.

        Raises ServiceBusyError when the caller has too many, StoreFullError or StoreError.
        """
        await self._require_few(1)
        job = self._new(job_id or new_report_id(), work)
        mine = self._mine
        await asyncio.to_thread(mine.create, job, films)
        self._runner.wake()
        return await asyncio.to_thread(mine.get, job.job_id)

    async def create_batch(self, films: Sequence[tuple[ReportWork, bytes]], batch_id: str) -> None:
        """Hand in a job a film, so that no more of them run at once than a batch may. Raises as `create`.

        The jobs stand in as many rows; in each the next begins when the one before it has ended. Their ids follow from
        the batch's, and the batch is kept last: one that broke off in the middle is made whole when it is sent again.
        """
        await self._require_few(len(films))
        mine, rows = self._mine, self._settings.batch_at_once
        ids = [_nth(batch_id, index) for index in range(len(films))]
        try:
            for index, (work, film) in enumerate(films):
                after = ids[index - rows] if index >= rows else None
                job = self._new(ids[index], replace(work, report_id=ids[index]))
                job = replace(job, batch=batch_id, index=index, after=after)
                await asyncio.to_thread(mine.create, job, (film,))
            await asyncio.to_thread(mine.put_batch, batch_id, Batch(time.time(), tuple(ids)))
        except MedInterpError:
            for job_id in reversed(ids):
                for _ in ("called off", "forgotten"):
                    with suppress(MedInterpError):
                        await self._cancel(job_id)
            raise
        self._runner.wake()

    def _new(self, job_id: str, work: Question | ExportWork | ReportWork) -> Job:
        visit = VISIT.get()
        return Job(
            job_id,
            work,
            time.time(),
            name=None if visit is None else visit.name,
            caller=CALLER.get(),
            address="" if visit is None else visit.address,
            request_id=REQUEST_ID.get(),
        )

    async def _require_few(self, more: int) -> None:
        limit = self._settings.open_per_caller
        caller = CALLER.get()
        waiting = await asyncio.to_thread(self._mine.open_jobs)
        if sum(one.marker.caller == caller for one in waiting.values()) + more > limit:
            raise ServiceBusyError(f"you have as many jobs as there may be, {limit}", retry_after_s=FULL_S)

    async def get(self, job_id: str) -> Stored:
        """Raises JobNotFoundError or StoreError."""
        return await asyncio.to_thread(self._mine.get, _known(job_id))

    async def batch(self, batch_id: str) -> tuple[Batch, float, tuple[Stored, ...]]:
        """The batch, when it is forgotten, and its jobs that are there. Raises JobNotFoundError or StoreError."""
        mine = self._mine

        def found() -> tuple[Batch, float, tuple[Stored, ...]]:
            batch, expires_at = mine.batch(_known(batch_id, NO_BATCH))
            return batch, expires_at, tuple(_there(mine, batch.jobs))

        return await asyncio.to_thread(found)

    async def cancel(self, job_id: str) -> None:
        """End the job, or forget one that has ended. Raises JobNotFoundError or StoreError."""
        await self._cancel(_known(job_id))

    async def cancel_batch(self, batch_id: str) -> None:
        """End all jobs of the batch that have not ended; where all had, forget them and it. Raises as `cancel`."""
        _, _, jobs = await self.batch(batch_id)
        still = [stored.job.job_id for stored in jobs if stored.job.open]
        # From the last to the first: none begins because the one before it has ended.
        for job_id in reversed(still or [stored.job.job_id for stored in jobs]):
            with suppress(JobNotFoundError):
                await self._cancel(job_id)
        if not still:
            await asyncio.to_thread(self._mine.drop_batch, batch_id)

    async def _cancel(self, job_id: str) -> None:
        before = await asyncio.to_thread(self._mine.cancel, job_id)
        if before.open and isinstance(before.work, ReportWork):
            with suppress(MedInterpError):  # an attempt that broke off may have come as far as the report
                await asyncio.to_thread(self._store.delete, before.work.report_id)

    async def follow(self, job_id: str) -> AsyncGenerator[Stored]:
        """The job each time that it has changed, until it has ended. Raises JobNotFoundError or StoreError."""
        version = 0
        while True:
            stored = await self.get(job_id)
            if stored.version != version:
                version = stored.version
                yield stored
            if not stored.job.open:
                return
            await asyncio.sleep(FOLLOW_S)

    async def result(self, stored: Stored) -> bytes:
        """The packed answer of a job that is done and made no report.

        Raises JobNotEndedError, JobCancelledError, JobNotFoundError or StoreError.
        """
        require_done(stored.job)
        return await asyncio.to_thread(self._mine.result, stored.job.job_id)


def _nth(batch_id: str, index: int) -> str:
    """The id of a film's job: as hard to guess as the batch's."""
    return hashlib.sha256(f"{batch_id} {index}".encode()).hexdigest()[:32]


def require_done(job: Job) -> None:
    """Raises JobNotEndedError or JobCancelledError; a job that failed has its problem."""
    if job.open:
        raise JobNotEndedError(f"the job is {job.state}; ask for its result when it is done")
    if job.state == "cancelled":
        raise JobCancelledError("the job was cancelled; ask anew")


def _there(ledger: Ledger, job_ids: Sequence[str]) -> list[Stored]:
    jobs = []
    for job_id in job_ids:
        with suppress(JobNotFoundError):
            jobs.append(ledger.get(job_id))
    return jobs


def _known(job_id: str, told: str = NOT_FOUND) -> str:
    """The id, when it is written as one. Raises JobNotFoundError."""
    if not is_report_id(job_id):
        raise JobNotFoundError(told)
    return job_id
