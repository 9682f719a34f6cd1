"""Bytes that may be on their way at once; whoever would exceed them waits, in the order of coming."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class ByteBudget:
    """A semaphore that counts bytes, in one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def holding(self, size: int) -> AsyncGenerator[None]:
        """Hold so many bytes, once those before have theirs and there is room; more than the limit: alone."""
        size = min(size, self.limit)
        if self._waiting or self.taken + size > self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():  # its bytes were taken already
                    self._give_back(size)
                else:
                    self._waiting.remove((size, turn))
                    self._let_in()  # those behind may fit where this one did not
                raise
        else:
            self.taken += size
        try:
            yield
        finally:
            self._give_back(size)

    def _give_back(self, size: int) -> None:
        self.taken -= size
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if turn.cancelled():
                return  # it takes itself out, and lets in who is behind
            if self.taken + size > self.limit:
                return
            self._waiting.popleft()
            self.taken += size
            turn.set_result(None)
