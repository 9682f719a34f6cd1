"""One line of the benchmark, and how its times are taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class BenchLine:
    """A measurement beside what it is held against; ratio: value / baseline, medians of the same run."""

    name: str
    ratio: float
    baseline: float
    value: float
    unit: str


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run, taken in turns, so that a machine's slow minutes fall on all alike.

    One round more is run first and not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def seconds_line(name: str, baseline: list[float], value: list[float]) -> BenchLine:
    """A line of two interleaved runs: the ratio is the median of the rounds' own ratios."""
    ratios = [mine / theirs for mine, theirs in zip(value, baseline, strict=True)]
    return BenchLine(
        name,
        round(statistics.median(ratios), 4),
        round(statistics.median(baseline), 4),
        round(statistics.median(value), 4),
        "s",
    )
