"""Doing a job's work: what a request would have done at once, in the name of whoever asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from types import SimpleNamespace

from medinterp.api.access.principal import VISIT, Principal, Visit
from medinterp.api.asking import Asking
from medinterp.api.backend import Backend, Progress
from medinterp.api.caller import CALLER
from medinterp.api.jobs.record import Stored
from medinterp.api.jobs.results import Result, file_result, model_result
from medinterp.api.reading import Reading
from medinterp.api.schema import Model
from medinterp.api.store import ReportStore
from medinterp.api.work import ExportWork, ReportWork
from medinterp.errors import MedInterpError, ReportNotFoundError, ServiceInterruptedError
from medinterp.export.formats import FORMATS
from medinterp.web.request_id import REQUEST_ID

Mine = Callable[[], Awaitable[None]]
"""Raises LostError where the job is no longer this replica's."""


def act_for(stored: Stored) -> None:
    """From here on this task acts for the one who asked: their reports, their turn, their name in the audit log."""
    job, owner = stored.job, stored.owner
    principal = None if owner is None else Principal(job.name or owner, owner, frozenset())
    route = SimpleNamespace(path="/jobs/{job_id}")
    VISIT.set(Visit(job.address, {"type": "job", "method": "JOB", "route": route}, principal))
    CALLER.set(job.caller)
    REQUEST_ID.set(job.request_id)


@dataclass(frozen=True)
class Doing:
    """Does work through the same parts as requests do. store: narrowed to whoever `act_for` told."""

    backend: Backend
    reading: Reading
    asking: Asking
    store: ReportStore

    async def steps(self, stored: Stored, films: Sequence[bytes], mine: Mine) -> AsyncGenerator[Progress | Result]:
        """Progress any number of times, and a result last; None of a report, which is in the store then."""
        work = stored.job.work
        match work:
            case ReportWork():
                found = self._report(work, films, mine)
            case ExportWork():
                found = self._export(work)
            case _:
                found = _answers(self.asking.answers(work))
        async with aclosing(found) as items:
            async for item in items:
                yield item

    async def _report(
        self, work: ReportWork, films: Sequence[bytes], mine: Mine
    ) -> AsyncGenerator[Progress | Result]:
        with suppress(ReportNotFoundError):
            # An earlier attempt came as far as this; its report is not made a second time.
            await asyncio.to_thread(self.store.stamp, work.report_id)
            yield None
            return
        task = work.task
        film = await self.reading.film(films[0], window=work.window, force=task.force, model=task.model)
        prior = None
        if work.prior:
            window = work.prior_window
            prior = await self.reading.prior(films[1], window=window, force=task.force, model=task.model)
        await self.reading.require_room(film, prior)
        async with aclosing(self.reading.progress(film, work.task, prior)) as items:
            async for item in items:
                if isinstance(item, Progress):
                    yield item
                    continue
                await mine()
                keeping = asyncio.ensure_future(self.reading.keep(work.report_id, item))
                try:
                    await asyncio.shield(keeping)
                except asyncio.CancelledError:
                    # It is put all the same; whoever cancels must know that it is there before it takes it back.
                    await asyncio.wait({keeping})
                    raise
                yield None
                return
        raise ServiceInterruptedError("the report broke off")

    async def _export(self, work: ExportWork) -> AsyncGenerator[Progress | Result]:
        await asyncio.to_thread(self.store.touch, work.report_id)
        form = FORMATS[work.task.form]
        yield file_result(form.name, await self.backend.export(work.report_id, work.task))

    async def forget_report(self, work: ReportWork) -> None:
        """Of a job that was cancelled while its report was put."""
        with suppress(MedInterpError):
            await asyncio.to_thread(self.store.delete, work.report_id)


async def _answers(items: AsyncGenerator[Progress | Model]) -> AsyncGenerator[Progress | Result]:
    async with aclosing(items):
        async for item in items:
            yield item if isinstance(item, Progress) else model_result(item)
            if isinstance(item, Model):
                return
    raise ServiceInterruptedError("the answer broke off")
