"""Bytes on their way: never more than the limit, in the order of coming."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from deployments.handoff import Handoff, array_bytes
from deployments.relevancy import Explained
from medinterp.api.budget import ByteBudget
from medinterp.errors import ServiceInterruptedError
from medinterp.types import Generation, ImageSpan
from tests.api_samples import sample_explanation
from tests.test_serve_backend import died
from tests.traces import make_trace

SAMPLE = sample_explanation()


async def hold(budget: ByteBudget, size: int, log: list[str], name: str, until: asyncio.Event) -> None:
    async with budget.holding(size):
        log.append(name)
        assert budget.taken <= budget.limit
        await until.wait()


def test_who_does_not_fit_waits_and_nobody_passes_by() -> None:
    async def run() -> None:
        budget, log, done = ByteBudget(100), [], [asyncio.Event() for _ in range(4)]
        tasks = [
            asyncio.create_task(hold(budget, size, log, name, event))
            for size, name, event in zip((60, 60, 10, 500), "abcd", done, strict=True)
        ]
        await asyncio.sleep(0.01)
        assert log == ["a"]  # c would fit, and waits behind b
        done[0].set()
        await asyncio.sleep(0.01)
        assert log == ["a", "b", "c"]
        done[1].set()
        await asyncio.sleep(0.01)
        assert log == ["a", "b", "c"]
        done[2].set()
        await asyncio.sleep(0.01)
        assert log == ["a", "b", "c", "d"] and budget.taken == 100
        done[3].set()
        await asyncio.gather(*tasks)
        assert budget.taken == 0

    asyncio.run(run())


def test_who_goes_while_waiting_keeps_nobody() -> None:
    async def run() -> None:
        budget, log, done = ByteBudget(100), [], [asyncio.Event() for _ in range(3)]
        first, second, third = (
            asyncio.create_task(hold(budget, size, log, name, event))
            for size, name, event in zip((60, 90, 30), "abc", done, strict=True)
        )
        await asyncio.sleep(0.01)
        second.cancel()
        await asyncio.sleep(0.01)
        assert log == ["a", "c"] and budget.taken == 90
        first.cancel()
        done[2].set()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert budget.taken == 0
        # Cancelled in the very moment in which its turn comes.
        async with budget.holding(100):
            late = asyncio.create_task(hold(budget, 100, log, "late", done[1]))
            await asyncio.sleep(0.01)
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
        assert budget.taken == 0

    asyncio.run(run())


class Relevancy:
    """A handle that takes a while, and knows how many traces it has."""

    def __init__(self, *steps: object) -> None:
        self.steps, self.now, self.most, self.calls = list(steps), 0, 0, 0

    def options(self, **_: object) -> Relevancy:
        return self

    @property
    def explain(self) -> Relevancy:
        return self

    def remote(self, generation: Generation, methods: tuple[str, ...]) -> Call:
        self.calls += 1
        return Call(self)


class Call:
    def __init__(self, relevancy: Relevancy) -> None:
        self.relevancy, self.cancelled = relevancy, False

    def __await__(self):  # type: ignore[no-untyped-def]
        return self.answer().__await__()

    async def answer(self) -> Explained:
        self.relevancy.now += 1
        self.relevancy.most = max(self.relevancy.most, self.relevancy.now)
        try:
            await asyncio.sleep(0.01)
            step = self.relevancy.steps.pop(0) if self.relevancy.steps else None
            if isinstance(step, Exception):
                raise step
            return Explained(SAMPLE.report, SAMPLE.packs, SAMPLE.provenance, (), {}, ())
        finally:
            self.relevancy.now -= 1

    def cancel(self) -> None:
        self.cancelled = True


def generation() -> Generation:
    rows = np.zeros((9, 3, 2, 16), np.float16)
    return Generation(report=SAMPLE.report, trace=make_trace(rows, (ImageSpan(0, 16, 4, 4),)))


def test_bytes_are_those_of_the_arrays() -> None:
    made = generation()
    arrays = [value for value in vars(made.trace).values() if isinstance(value, np.ndarray)]
    assert array_bytes(made) == sum(array.nbytes for array in arrays) > 1000
    assert array_bytes({"a": [np.zeros(3), (np.zeros(2, np.int8),)], "b": "text"}) == 26


def test_only_as_many_traces_are_on_their_way_as_the_store_has_room_for() -> None:
    size = array_bytes(generation())

    async def run(limit: int) -> int:
        relevancy = Relevancy()
        handoff = Handoff(relevancy, limit)  # type: ignore[arg-type]
        await asyncio.gather(*(handoff.explained(generation(), ("raw",)) for _ in range(9)))
        assert relevancy.calls == 9
        return relevancy.most

    assert asyncio.run(run(3 * size)) == 3
    assert asyncio.run(run(size)) == 1


def test_maps_are_asked_for_again_where_relevancy_died_and_the_report_is_not_written_twice() -> None:
    async def run(*steps: object) -> int:
        relevancy = Relevancy(*steps)
        handoff = Handoff(relevancy, 2**30)  # type: ignore[arg-type]
        try:
            await handoff.explained(generation(), ("raw",))
        finally:
            assert handoff.budget.taken == 0
        return relevancy.calls

    assert asyncio.run(run(died())) == 2
    with pytest.raises(ServiceInterruptedError):
        asyncio.run(run(died(), died()))
