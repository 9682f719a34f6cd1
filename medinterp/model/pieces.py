"""The pieces of a question to the model: how much one holds, who runs between two, and what is told of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from medinterp.model.loading import LoadedModel
from medinterp.model.memory import LiveBytes

_COUNTED = 15 / 16
"""The share of a budget that is planned with; the rest is for what kernels take inside themselves."""


class Pieces:
    """Work of one question, in pieces of units (pictures, rows, copies, points) that run side by side.

    told: how many of `unit` (cells, tokens, passes) are done.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        memory_bytes: int,
        unit: str,
        whole: int | None,
        progress: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """memory_bytes: what the question may take, in all; whole: of how many, None where that is open; progress gets
        how many more are done."""
        self._loaded, self._memory_bytes = loaded, memory_bytes
        self._whole, self._of = whole, unit if whole is None else f"of {whole} {unit}"
        self._progress, self._cancelled = progress, cancelled
        self._began, self._longest = 0.0, 0.0
        self.told = 0

    def give_way(self) -> None:
        """Before a piece: let others run. Raises GenerationCancelled when nobody waits for the answer any more."""
        self._ended()
        self._loaded.lock.give_way(self._cancelled, f"{self.told} {self._of}")
        self._began = time.perf_counter()

    def tell(self, more: int) -> None:
        """So many more are done."""
        self.told += more
        if more and self._progress is not None:
            self._progress(more)

    def done(self, parts: int, of: int) -> None:
        """So many of so many parts (forwards, points) of the whole work are done."""
        self.tell((self._whole or 0) * parts // of - self.told)

    def side_by_side(self, run: Callable[[int], object], most: int, held_bytes: int) -> int:
        """How many units, 1 to `most`, a piece may hold; run(count) works on so many, its result is thrown away.

        Memory: run(1) and run(2) are counted operation by operation (`LiveBytes`). Bytes after an operation are linear
        in the units, so the two tell what any number takes at its peak, beside held_bytes that the question has
        already. Time: where loaded.lock.piece_s is set, the largest power of two whose longest piece takes no more.
        At least one whatever it takes; without piece_s the same for the same question every time.
        """
        if most <= 1:
            return 1
        fits = self._fitting(run, most, int(_COUNTED * self._memory_bytes) - held_bytes)
        piece_s = self._loaded.lock.piece_s
        return fits if piece_s is None else self._in_time(run, fits, piece_s)

    def _fitting(self, run: Callable[[int], object], most: int, left: int) -> int:
        one = self._counted(run, 1)
        if most * one.max() <= left:
            return most
        if 2 * one.max() > left:
            return 1
        two = self._counted(run, 2)
        if len(one) != len(two):  # another way for two; a unit alone bounds every one
            return int(left // one.max())
        more = two - one
        grows = more > 0
        return 1 + int(((left - one)[grows] // more[grows]).min(initial=most - 1))

    def _counted(self, run: Callable[[int], object], count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Bytes that are live after each operation."""
        self.give_way()
        with LiveBytes() as live:
            run(count)
        return np.array([0, *live.trace], dtype=np.int64)

    def _in_time(self, run: Callable[[int], object], fits: int, piece_s: float) -> int:
        """Doubled from one on: a few units often take no longer than one, so that one alone tells too little."""
        largest, count = 2 ** int(math.log2(fits)), 1
        while count < largest:
            self.give_way()
            self._longest = 0.0
            run(count)
            self._ended()
            times = piece_s / max(self._longest, 1e-9)
            if times < 2:
                break
            count = min(largest, count * 2 ** int(math.log2(times)))
        return count

    def _ended(self) -> None:
        """A piece is over when the device has done it; what is only queued would stand before the others' work."""
        if self._loaded.lock.piece_s is not None:
            if self._loaded.device.type == "cuda":
                torch.cuda.synchronize(self._loaded.device)
            self._longest = max(self._longest, time.perf_counter() - self._began)


def shape_of_batches(units: int, most: int) -> tuple[int, int]:
    """How many batches of how many units each, at most `most`: as few batches as can be, and alike."""
    batches = math.ceil(units / most)
    return batches, math.ceil(units / max(batches, 1)) or 1
