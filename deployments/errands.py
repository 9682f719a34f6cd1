"""Work for callers in threads: each ends with its work, and learns when its caller has gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

Tell = Callable[[Any], None]
Result = TypeVar("Result")
Work = Callable[[Tell, threading.Event], Result]
"""What is to be done; it is given what tells of it on the way, and an event that says that its caller has gone."""


class Errands:
    """Does work on behalf of callers. Whose turn it is, is settled at the model."""

    def __init__(self, caller: ContextVar[str]) -> None:
        """caller: names to the model on whose behalf a thread asks."""
        self._caller = caller

    async def run(self, caller: str, work: Work[Result], tell: Tell = lambda _: None) -> Result:
        """Run in a thread of its own; when the caller goes away, the work learns of it by the event."""
        gone = threading.Event()
        done: Future[Result] = Future()
        done.set_running_or_notify_cancel()  # it is not taken back: the work ends by the event

        def on_behalf() -> None:
            self._caller.set(caller)
            try:
                done.set_result(work(tell, gone))
            except BaseException as error:
                done.set_exception(error)

        context = copy_context()  # of the request, whose trace goes on in the thread
        threading.Thread(target=context.run, args=(on_behalf,), name="generation", daemon=True).start()
        try:
            return await asyncio.wrap_future(done)
        finally:
            gone.set()

    async def aloud(self, caller: str, work: Work[Result]) -> AsyncGenerator[Any]:
        """What the work tells while it is done, and its result last."""
        loop = asyncio.get_running_loop()
        told: asyncio.Queue[Any] = asyncio.Queue()
        end = object()

        def tell(item: object) -> None:
            loop.call_soon_threadsafe(told.put_nowait, item)

        working = asyncio.create_task(self.run(caller, work, tell))
        working.add_done_callback(lambda _: told.put_nowait(end))
        try:
            while (item := await told.get()) is not end:
                yield item
            yield await working
        finally:
            working.cancel()
