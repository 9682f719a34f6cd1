"""Where jobs stand: records of the report store, changed one version at a time.

    job         the job itself
    job-film    the films that were sent for it, until it has ended
    job-open    a marker, until it has ended: what replicas look through
    job-lease   whose it is just now; forgotten by the store itself when nobody renews it
    job-result  its answer, where that is no report
    batch       which jobs were made together

A job is whoever's lease it is. The lease runs out by the store's own clock, so that no two replicas' clocks are
compared; what a replica writes of a job whose lease it lost is refused, because the next one has changed the job first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from medinterp.api.jobs.record import BATCH, JOB, MARKER, Batch, Job, Marker, Stored
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.store import ReportStore
from medinterp.errors import JobNotFoundError, RecordConflictError, RecordNotFoundError

NOT_FOUND = "no job has this id; it may have expired or been deleted"
NO_BATCH = "no batch has this id; it may have expired or been deleted"


class LostError(Exception):
    """The job is no longer this replica's: it was cancelled, or another one has it."""


@dataclass(frozen=True)
class Waiting:
    """A job that nobody runs."""

    job_id: str
    owner: str | None
    marker: Marker


class Ledger:
    """Jobs of one owner (`of`), or of all. Its calls wait for the store: not for the event loop."""

    def __init__(self, store: ReportStore, settings: JobSettings, ended_s: float) -> None:
        """ended_s: how long a job is kept that has ended."""
        self._store, self._settings, self._ended_s = store, settings, ended_s

    def of(self, owner: str | None) -> Ledger:
        """The same for one owner."""
        return Ledger(self._store.of(owner), self._settings, self._ended_s)

    def create(self, job: Job, films: Sequence[bytes]) -> None:
        """Keep a new job, and the films for it. Raises StoreFullError or StoreError, and nothing is kept then.

        A job that is there already stays as it is: the same request came twice.
        """
        kept: list[tuple[str, str]] = []
        try:
            for name, film in zip(job.films, films, strict=True):
                self._put_new("job-film", name, film, kept)
            self._put_new("job", job.job_id, JOB.dump_json(job), kept)
            there = self.get(job.job_id).job
            if there.open:
                marker = Marker(there.created_at, there.caller, there.after)
                self._put_new("job-open", job.job_id, MARKER.dump_json(marker), kept)
            else:
                self.clear(there)
        except BaseException:
            for kind, name in reversed(kept):
                self._drop(kind, name)
            raise

    def _put_new(self, kind: str, name: str, data: bytes, kept: list[tuple[str, str]]) -> None:
        with suppress(RecordConflictError):
            self._store.put_record(kind, name, data, 0, lifetime_s=self._settings.wait_s)
            kept.append((kind, name))

    def get(self, job_id: str) -> Stored:
        """Raises JobNotFoundError or StoreError."""
        try:
            found = self._store.get_record("job", job_id)
        except RecordNotFoundError:
            raise JobNotFoundError(NOT_FOUND) from None
        return Stored(JOB.validate_json(found.data), found.version, found.owner, found.expires_at)

    def films(self, job: Job) -> tuple[bytes, ...]:
        """What was sent for it. Raises JobNotFoundError where that is gone, or StoreError."""
        try:
            return tuple(self._store.get_record("job-film", name).data for name in job.films)
        except RecordNotFoundError:
            raise JobNotFoundError("the film of this job is gone") from None

    def change(self, job_id: str, step: Callable[[Job], Job]) -> Job:
        """Put step(job) in the job's place; again from the start when another change came between.

        Raises JobNotFoundError, StoreError, and what `step` raises. A job that has ended leaves its marker and films.
        """
        while True:
            stored = self.get(job_id)
            job = step(stored.job)
            if job == stored.job:
                return job
            lifetime_s = self._settings.wait_s if job.open else self._ended_s
            try:
                self._store.put_record("job", job_id, JOB.dump_json(job), stored.version, lifetime_s=lifetime_s)
            except RecordConflictError:
                continue
            if not job.open:
                self.clear(job)
            return job

    def clear(self, job: Job) -> None:
        """Forget what only a job needs that has not ended: films first."""
        for name in job.films:
            self._drop("job-film", name)
        self._drop("job-open", job.job_id)

    def cancel(self, job_id: str) -> Job:
        """End it without a result, and return it as it was: one that had ended is forgotten with its result.

        Raises JobNotFoundError or StoreError.
        """
        before: list[Job] = []

        def step(job: Job) -> Job:
            before[:] = [job]
            if not job.open:
                return job
            return replace(job, state="cancelled", runner=None, progress=None, ended_at=time.time())

        self.change(job_id, step)
        if not before[0].open:
            self._drop("job-result", job_id)
            self._drop("job", job_id)
        return before[0]

    def put_result(self, job_id: str, data: bytes) -> None:
        """Keep its answer, in place of one that an earlier attempt left. Raises StoreFullError or StoreError."""
        while True:
            version = 0
            with suppress(RecordNotFoundError):
                version = self._store.get_record("job-result", job_id).version
            with suppress(RecordConflictError):
                self._store.put_record("job-result", job_id, data, version, lifetime_s=self._ended_s)
                return

    def result(self, job_id: str) -> bytes:
        """Its answer. Raises JobNotFoundError or StoreError."""
        try:
            return self._store.get_record("job-result", job_id).data
        except RecordNotFoundError:
            raise JobNotFoundError("the result of this job is gone") from None

    def drop_result(self, job_id: str) -> None:
        """Forget its answer."""
        self._drop("job-result", job_id)

    def put_batch(self, batch_id: str, batch: Batch) -> None:
        """Keep which jobs were made together, as long as the last of them may take. Raises StoreError."""
        lifetime_s = self._settings.wait_s + self._ended_s
        with suppress(RecordConflictError):
            self._store.put_record("batch", batch_id, BATCH.dump_json(batch), 0, lifetime_s=lifetime_s)

    def batch(self, batch_id: str) -> tuple[Batch, float]:
        """The batch, and when it is forgotten. Raises JobNotFoundError or StoreError."""
        try:
            found = self._store.get_record("batch", batch_id)
        except RecordNotFoundError:
            raise JobNotFoundError(NO_BATCH) from None
        return BATCH.validate_json(found.data), found.expires_at

    def drop_batch(self, batch_id: str) -> None:
        """Forget which jobs were made together."""
        self._drop("batch", batch_id)

    def open_jobs(self) -> Mapping[str, Waiting]:
        """Of this owner, or of all, those that have not ended. Raises StoreError."""
        return {
            found.record_id: Waiting(found.record_id, found.owner, MARKER.validate_json(found.data))
            for found in self._store.list_records("job-open")
        }

    def leased(self) -> frozenset[str]:
        """The jobs that some replica runs. Raises StoreError."""
        return frozenset(found.record_id for found in self._store.list_records("job-lease"))

    def take(self, job_id: str, claim: str) -> int | None:
        """Make the job this claim's, unless it is another's, and return the lease's version. Raises StoreError."""
        return self._lease(job_id, claim, 0)

    def renew(self, job_id: str, claim: str, version: int) -> int:
        """Go on with the lease, and return its new version. Raises LostError or StoreError."""
        renewed = self._lease(job_id, claim, version)
        if renewed is None:
            raise LostError
        return renewed

    def _lease(self, job_id: str, claim: str, version: int) -> int | None:
        data, lease_s = claim.encode(), self._settings.lease_s
        try:
            return self._store.put_record("job-lease", job_id, data, version, lifetime_s=lease_s)
        except RecordConflictError:
            pass
        with suppress(RecordNotFoundError):
            # Redis may have done it, and the word of that was lost on its way (store.redis_records).
            found = self._store.get_record("job-lease", job_id)
            if found.data == data:
                return found.version
        return None

    def release(self, job_id: str, claim: str) -> None:
        """Give the lease back, if it is this claim's. Raises StoreError."""
        with suppress(RecordNotFoundError, RecordConflictError):
            found = self._store.get_record("job-lease", job_id)
            if found.data == claim.encode():
                self._store.delete_record("job-lease", job_id, found.version)

    def drop_marker(self, job_id: str) -> None:
        """Of a job that is not there. Raises StoreError."""
        self._drop("job-open", job_id)

    def _drop(self, kind: str, name: str) -> None:
        with suppress(RecordNotFoundError):
            self._store.delete_record(kind, name)
