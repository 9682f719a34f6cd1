"""Running jobs: each replica of the API looks for those that nobody runs, and begins as many as it may."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace

from medinterp.api.backend import Progress
from medinterp.api.jobs.doing import Doing, act_for
from medinterp.api.jobs.ledger import Ledger, LostError, Waiting
from medinterp.api.jobs.record import Job, State, Stored
from medinterp.api.jobs.results import Result
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.log_lines import frames_of
from medinterp.api.problem_handlers import unforeseen_problem
from medinterp.api.problems import Problem, problem_of
from medinterp.api.report_id import log_name
from medinterp.api.work import ReportWork
from medinterp.errors import (
    DeadlineExceededError,
    JobAbandonedError,
    JobNotFoundError,
    MedInterpError,
    ReportNotFoundError,
    ServiceBusyError,
    ServiceInterruptedError,
    StoreError,
    StoreFullError,
)

logger = logging.getLogger(__name__)

LOOK_S = 0.4
"""How often a job that runs is looked at: whether it was cancelled, and how far it is; at most a tenth of its lease."""
FINAL = (ReportNotFoundError, StoreFullError)
"""Of the store's errors, those that trying again does not mend."""
TELL_S = 1.0
"""How often it is written down at most how far a job is: on a disk that costs more than the rest together."""
BUSY_S = 2.0
"""Until a job is begun again that found no place, where the service did not say when."""


@dataclass
class _Run:
    """A job that this replica runs."""

    stored: Stored
    claim: str
    lease: int
    renewed_at: float
    progress: Progress | None = None
    task: asyncio.Task[None] | None = None
    lost: bool = False
    """Another one's, cancelled or forgotten."""

    @property
    def job_id(self) -> str:
        return self.stored.job.job_id


class Runner:
    """Runs jobs in one event loop, from `start` to `stop`."""

    def __init__(self, ledger: Ledger, doing: Doing, settings: JobSettings) -> None:
        """ledger: of all owners."""
        self._ledger, self._doing, self._settings = ledger, doing, settings
        self._runs: dict[str, _Run] = {}
        self._look = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def running(self) -> frozenset[str]:
        """The jobs that run here."""
        return frozenset(self._runs)

    def start(self) -> None:
        """Begin to look for jobs."""
        self._looking = asyncio.create_task(self._look_on(), name="jobs")

    def wake(self) -> None:
        """There is a new job."""
        self._look.set()

    async def stop(self) -> None:
        """Stop all work, and give the jobs back: another replica begins them at once, and no attempt is counted."""
        self._stopping = True
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        if self._looking is not None:
            tasks.append(self._looking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_on(self) -> None:
        while True:
            try:
                await self._begin()
            except StoreError as error:
                logger.warning("jobs cannot be looked for: %s", error)
            self._look.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.look_s):
                    await self._look.wait()

    async def _begin(self) -> None:
        """Begin jobs that nobody runs, of the callers first who have the fewest under way, the oldest first."""
        if len(self._runs) >= self._settings.at_once:
            return
        # In this order: one that ends in between is in neither, or found ended when it is taken.
        waiting = await asyncio.to_thread(self._ledger.open_jobs)
        leased = await asyncio.to_thread(self._ledger.leased) if waiting else frozenset()
        under_way = Counter(waiting[job_id].marker.caller for job_id in waiting if job_id in leased)
        free = {
            job_id: one
            for job_id, one in waiting.items()
            if job_id not in leased and job_id not in self._runs and one.marker.after not in waiting
        }
        while free and len(self._runs) < self._settings.at_once:
            job_id = _next(free, under_way)
            one = free.pop(job_id)
            if await self._take(one):
                under_way[one.marker.caller] += 1

    async def _take(self, one: Waiting) -> bool:
        """Make a job this replica's and begin it."""
        claim, before = secrets.token_hex(8), time.monotonic()
        lease = await asyncio.to_thread(self._ledger.take, one.job_id, claim)
        if lease is None:
            return False
        try:
            job = await asyncio.to_thread(self._ledger.change, one.job_id, lambda job: self._begun(job, claim))
            stored = await asyncio.to_thread(self._ledger.get, one.job_id)
        except JobNotFoundError:
            await asyncio.to_thread(self._ledger.drop_marker, one.job_id)
            await asyncio.to_thread(self._ledger.release, one.job_id, claim)
            return False
        if not job.open or stored.job.runner != claim:
            # Ended, and whoever ended it did not come as far as to say so; or tried too often.
            await asyncio.to_thread(self._ledger.clear, job)
            await asyncio.to_thread(self._ledger.release, one.job_id, claim)
            return False
        run = _Run(stored, claim, lease, before)
        self._runs[one.job_id] = run
        run.task = asyncio.create_task(self._run(run), name=f"job {log_name(one.job_id)}")
        return True

    def _begun(self, job: Job, claim: str) -> Job:
        if not job.open:
            return job
        if job.attempts >= self._settings.attempts:
            error = JobAbandonedError(
                f"the job was begun {job.attempts} times, and the part of the service that ran it went away each time; "
                "it is not tried again"
            )
            return replace(_ended(job, "failed"), problem=problem_of(error))
        started_at = job.started_at or time.time()
        return replace(job, state="running", runner=claim, attempts=job.attempts + 1, started_at=started_at)

    async def _run(self, run: _Run) -> None:
        """Do the work and hold the lease meanwhile; what it comes to is written down once."""
        job_id = run.stored.job.job_id
        act_for(run.stored)
        working, holding = asyncio.create_task(self._attempts(run)), asyncio.create_task(self._hold(run))
        try:
            await asyncio.wait({working, holding}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
        except (LostError, JobNotFoundError):
            run.lost = True
        except StoreError as error:
            # What became of it cannot be written down: whoever finds it without a lease begins it again.
            logger.warning("job %s: %s", log_name(job_id), error)
        finally:
            for task in (working, holding):
                task.cancel()
            await asyncio.gather(working, holding, return_exceptions=True)
            with suppress(StoreError, JobNotFoundError, LostError):
                if run.lost:
                    await self._undo(run)
                elif self._stopping:
                    await self._change(run, _given_back)
            with suppress(StoreError):
                await asyncio.to_thread(self._ledger.release, job_id, run.claim)
            self._runs.pop(job_id, None)
            self._look.set()

    async def _undo(self, run: _Run) -> None:
        """Forget what was kept of a job after it was cancelled; what another replica now does stays."""
        try:
            job = (await asyncio.to_thread(self._ledger.get, run.stored.job.job_id)).job
        except JobNotFoundError:
            job = None
        if job is None or job.state == "cancelled":
            await asyncio.to_thread(self._ledger.drop_result, run.stored.job.job_id)
            if isinstance(run.stored.job.work, ReportWork):
                await self._doing.forget_report(run.stored.job.work)

    async def _hold(self, run: _Run) -> None:
        """Renew the lease, write down how far the work is, and return once the job is not this replica's any more."""
        lease_s, job_id = self._settings.lease_s, run.stored.job.job_id
        told: Progress | None = None
        told_at = -TELL_S
        while True:
            await asyncio.sleep(min(LOOK_S, lease_s / 10))
            now = time.monotonic()
            try:
                if now - run.renewed_at > lease_s / 3:
                    run.lease = await asyncio.to_thread(self._ledger.renew, job_id, run.claim, run.lease)
                    run.renewed_at = now
                progress = run.progress
                if progress == told or now - told_at < TELL_S:
                    await self._mine(run)
                else:
                    await self._change(run, _at(progress))
                    told, told_at = progress, now
            except (LostError, JobNotFoundError):
                run.lost = True
                return
            except StoreError as error:
                if now - run.renewed_at > lease_s:
                    logger.warning("job %s: its lease could not be renewed: %s", log_name(job_id), error)
                    run.lost = True
                    return

    async def _attempts(self, run: _Run) -> None:
        """Do the work, again after a while where the service is busy or a part of it went away, and write it down."""
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    result = await self._work(run)
            except TimeoutError:
                error = DeadlineExceededError(f"the job was not done within {self._settings.timeout_s:g} s")
                return await self._fail(run, problem_of(error))
            except ServiceBusyError as error:
                # Refused before anything was done: that is no attempt.
                await self._again(run, error.retry_after_s or BUSY_S, 0)
            except (ServiceInterruptedError, StoreError) as error:
                spent = run.stored.job.attempts >= self._settings.attempts
                if spent or isinstance(error, FINAL):
                    return await self._fail(run, problem_of(error))
                await self._again(run, BUSY_S, 1)
            except (LostError, JobNotFoundError):
                raise
            except MedInterpError as error:
                return await self._fail(run, problem_of(error))
            except Exception as error:
                logger.error("job %s: unforeseen %s: %s", log_name(run.job_id), type(error).__name__, frames_of(error))
                return await self._fail(run, unforeseen_problem())
            else:
                return await self._done(run, result)

    async def _work(self, run: _Run) -> Result:
        ledger = self._ledger.of(run.stored.owner)
        films = await asyncio.to_thread(ledger.films, run.stored.job)

        async def mine() -> None:
            await self._mine(run)

        async with aclosing(self._doing.steps(run.stored, films, mine)) as items:
            async for item in items:
                if not isinstance(item, Progress):
                    return item
                run.progress = item
        raise ServiceInterruptedError("the work broke off")

    async def _again(self, run: _Run, wait_s: float, attempts: int) -> None:
        run.progress = None
        await self._change(run, lambda job: replace(job, state="queued", progress=None))
        await asyncio.sleep(wait_s)
        await self._change(run, lambda job: replace(job, state="running", attempts=job.attempts + attempts))
        run.stored = await asyncio.to_thread(self._ledger.get, run.job_id)

    async def _done(self, run: _Run, result: Result) -> None:
        if result is not None:
            ledger = self._ledger.of(run.stored.owner)
            try:
                await asyncio.to_thread(ledger.put_result, run.job_id, result)
            except StoreFullError as error:
                return await self._fail(run, problem_of(error))
        await self._change(run, lambda job: _ended(job, "done"))
        logger.info("job %s: %s done", log_name(run.job_id), run.stored.job.work.kind)

    async def _fail(self, run: _Run, problem: Problem) -> None:
        await self._change(run, lambda job: replace(_ended(job, "failed"), problem=problem))
        kind = run.stored.job.work.kind
        logger.info("job %s: %s failed: %s", log_name(run.job_id), kind, problem.type.rpartition(":")[2])

    async def _mine(self, run: _Run) -> None:
        """Raises LostError, JobNotFoundError or StoreError."""
        _require(run, (await asyncio.to_thread(self._ledger.get, run.job_id)).job)

    async def _change(self, run: _Run, step: Callable[[Job], Job]) -> None:
        """Raises as `_mine`."""

        def mine(job: Job) -> Job:
            _require(run, job)
            return step(job)

        await asyncio.to_thread(self._ledger.change, run.job_id, mine)


def _require(run: _Run, job: Job) -> None:
    """Raise LostError for a job that is not this run's."""
    if not job.open or job.runner != run.claim:
        raise LostError


def _next(free: Mapping[str, Waiting], under_way: Mapping[str, int]) -> str:
    """Whose turn it is."""
    return min(free, key=lambda job_id: (under_way[free[job_id].marker.caller], free[job_id].marker.created_at, job_id))


def _at(progress: Progress | None) -> Callable[[Job], Job]:
    return lambda job: replace(job, progress=progress)


def _ended(job: Job, state: State) -> Job:
    return replace(job, state=state, runner=None, progress=None, ended_at=time.time())


def _given_back(job: Job) -> Job:
    """The replica ends, the job does not: that is no attempt."""
    return replace(job, state="queued", runner=None, progress=None, attempts=job.attempts - 1)
