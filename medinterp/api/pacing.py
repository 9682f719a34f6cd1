"""A stream of items with signs of life while it is silent, and a time limit on the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")


class Silence:
    """Stands for "nothing came, but the stream is alive"."""


class _End:
    """Stands for the end of the stream."""


async def paced(
    items: AsyncGenerator[Item], every_s: float, limit_s: float
) -> AsyncGenerator[Item | Silence]:
    """Pass the items on, a Silence after every `every_s` seconds without one.

    Raises TimeoutError when the stream has not ended after `limit_s` seconds. However this ends,
    `items` is closed. No deadline is tied to a task: an event stream's first item is awaited in
    one task and its others in another.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + limit_s
    pending: asyncio.Task[Item | _End] | None = None

    async def following() -> Item | _End:
        return await anext(items, _End())

    async with aclosing(items):
        try:
            while True:
                pending = pending or asyncio.create_task(following())
                left_s = deadline - clock()
                if left_s <= 0:
                    raise TimeoutError
                await asyncio.wait({pending}, timeout=min(every_s, left_s))
                if not pending.done():
                    yield Silence()
                    continue
                item = pending.result()
                pending = None
                if isinstance(item, _End):
                    return
                yield item
        finally:
            if pending is not None:
                pending.cancel()
                await asyncio.wait({pending})
