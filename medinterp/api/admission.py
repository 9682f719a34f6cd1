"""Who may come in: places that are bounded and shared fairly, and a refusal that says truly when to come again."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from medinterp.errors import ServiceBusyError

SHARED = 0.75
"""Of the places, those that anybody may fill; the rest is for callers who have less than their share."""
FEW_CALLERS = 4
"""A caller's share is one part of so many, or of as many as there are callers."""
OVER = 2
"""Times the places: so many are inside at most, those included who came back when they were told to."""
PROMISES = 4
"""Times the places: so many are told when to come at most."""
SAMPLES = 16
"""Places that became free, over which the pace is taken."""
FIRST_S = 1.0
"""From one free place to the next, before any has been measured."""
MARGIN = 1.1
"""A promise is for a little later than the pace says."""
GRACE_S = 5.0
"""How long a promise is kept beyond its time, at least; half of the time that was told where that is longer."""
LONGEST_S = 300


@dataclass(frozen=True)
class _Promise:
    caller: str
    due: float
    until: float


class Admission:
    """Places for one kind of work, in one event loop.

    Who finds none is refused with the seconds after which a place will be there, by the measured pace and by how many
    were told so before; the place is kept for the same request of the same caller, who gets in when it comes then.
    """

    def __init__(self, places: int, *, max_bytes: int | None = None, clock: Callable[[], float] = time.monotonic):
        """max_bytes: of what those inside have brought with them; whoever is alone may bring more."""
        self._places, self._max_bytes, self._clock = places, max_bytes, clock
        self._inside: Counter[str] = Counter()
        self._bytes = 0
        self._promises: dict[int, deque[_Promise]] = {}
        self._intervals: deque[float] = deque(maxlen=SAMPLES)
        self._left_at: float | None = None

    def resize(self, places: int, *, max_bytes: int | None = None) -> None:
        """From now on there are so many; who is inside stays, and promises are kept."""
        self._places, self._max_bytes = places, max_bytes

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside.total()

    @property
    def promised(self) -> int:
        """How many were told when to come and have not come yet."""
        return sum(map(len, self._promises.values()))

    @property
    def interval_s(self) -> float:
        """Seconds from one place that becomes free to the next, while there is work."""
        return sum(self._intervals) / len(self._intervals) if self._intervals else FIRST_S

    @contextmanager
    def entered(self, caller: str, request: object, size: int = 0) -> Iterator[None]:
        """Hold a place.

        request: tells one caller's requests apart, the same when it is sent again; nothing of it is kept but its hash.
        size: bytes that it brings. Raises ServiceBusyError, which says when to come again.
        """
        self._enter(caller, hash((caller, request)), size)
        try:
            yield
        finally:
            self._leave(caller, size)

    def _enter(self, caller: str, key: int, size: int) -> None:
        now = self._clock()
        self._forget(now)
        kept = self._promises.get(key)
        due = kept is not None and kept[0].due <= now
        room = self._max_bytes is None or not self._bytes or self._bytes + size <= self._max_bytes
        if room and self.inside < OVER * self._places and (due or self._free(caller, now)):
            self._redeem(key)
            if not self.inside:
                self._left_at = None  # nobody was here: that time says nothing of the pace
            self._inside[caller] += 1
            self._bytes += size
            return
        if kept is not None and not due:
            wait_s = kept[0].due - now
        else:
            self._redeem(key)
            wait_s = self._promise(caller, key, now)
        raise ServiceBusyError("every place is taken", retry_after_s=max(1, math.ceil(wait_s)))

    def _leave(self, caller: str, size: int) -> None:
        now = self._clock()
        if self._left_at is not None:
            self._intervals.append(now - self._left_at)
        self._inside[caller] -= 1
        self._bytes -= size
        if not self._inside[caller]:
            del self._inside[caller]
        self._left_at = now

    def _free(self, caller: str, now: float) -> bool:
        """Whether there is a place for somebody who was promised none."""
        coming = [promise for promises in self._promises.values() for promise in promises]
        soon = sum(promise.due <= now + self.inside * self.interval_s for promise in coming)
        if self.inside + soon < max(1, int(SHARED * self._places)):
            return True
        promised = Counter(promise.caller for promise in coming)
        callers = len(self._inside.keys() | promised.keys() | {caller})
        share = self._places / max(FEW_CALLERS, callers)
        return self.inside < self._places and self._inside[caller] + promised[caller] < share

    def _promise(self, caller: str, key: int, now: float) -> float:
        """Seconds until there will be a place, which is kept unless too many are."""
        before = self.inside + self.promised - int(SHARED * self._places)
        wait_s = min(LONGEST_S, math.ceil(max(1.0, (before + 1) * self.interval_s * MARGIN)))
        if self.promised < PROMISES * self._places and wait_s < LONGEST_S:
            until = now + wait_s + max(GRACE_S, wait_s / 2)
            self._promises.setdefault(key, deque()).append(_Promise(caller, now + wait_s, until))
        return wait_s

    def _redeem(self, key: int) -> None:
        if key in self._promises:
            self._promises[key].popleft()
            if not self._promises[key]:
                del self._promises[key]

    def _forget(self, now: float) -> None:
        """Promises of those who did not come."""
        for key, promises in list(self._promises.items()):
            while promises and promises[0].until < now:
                promises.popleft()
            if not promises:
                del self._promises[key]
