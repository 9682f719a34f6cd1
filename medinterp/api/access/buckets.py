"""Token buckets: so many requests a minute, and so many at once, for each who asks."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

KEPT = 10_000
"""Buckets, at most; the one used longest ago makes room, and its owner begins anew."""


ROUNDING = 1e-6
"""Who has waited as told must not be refused by a last bit."""


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """Counts in this process: with n replicas a caller gets up to n times as much. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, *asked: tuple[str, float, int]) -> int:
        """Take one token from each bucket (name, tokens a minute, the most it holds), or from none.

        Returns 0, or the seconds after which each of them has one, rounded up: who waits so long is let in, unless
        others of the same name come first. A refusal takes nothing.
        """
        with self._lock:
            now = self._clock()
            buckets = [self._filled(name, per_minute, burst, now) for name, per_minute, burst in asked]
            waits = [
                (1 - bucket.tokens) * 60 / per_minute
                for bucket, (_, per_minute, _) in zip(buckets, asked, strict=True)
                if bucket.tokens < 1 - ROUNDING
            ]
            if waits:
                return max(1, math.ceil(max(waits) - ROUNDING))
            for bucket in buckets:
                bucket.tokens -= 1
            return 0

    def _filled(self, name: str, per_minute: float, burst: int, now: float) -> _Bucket:
        bucket = self._buckets.setdefault(name, _Bucket(burst, now))
        self._buckets.move_to_end(name)
        while len(self._buckets) > KEPT:
            self._buckets.popitem(last=False)
        bucket.tokens = min(float(burst), bucket.tokens + (now - bucket.at) * per_minute / 60)
        bucket.at = now
        return bucket
