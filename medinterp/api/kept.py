"""Reports that are looked at, kept unpacked: a film is decoded once, not once a picture."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from medinterp import stages
from medinterp.api import metrics
from medinterp.api.store import ReportStore, unpack_record
from medinterp.errors import StoreError
from medinterp.explanation import Explanation
from medinterp.render import RenderOptions
from medinterp.types import MapPack

CHECK_S = 2.0
"""How often the store is asked whether what is kept is still there."""

Canvas = npt.NDArray[np.uint8]


class KeptExplanation(Explanation):
    """An explanation that computes once what every picture of it needs: the film's grays and the maps' ranges."""

    @cached_property
    def _canvases(self) -> dict[int, Canvas]:
        return {}

    @cached_property
    def _resized(self) -> dict[int, tuple[int, Canvas]]:
        """The last other size of each film."""
        return {}

    @cached_property
    def _ranges(self) -> dict[tuple[object, ...], tuple[float, float]]:
        return {}

    def canvas_of(self, image: int, size: int | None) -> Canvas:
        """The film at its own size from the first time on, and the last other size that is no larger."""
        film = self.film_at(image)
        if size is None or size == max(film.height, film.width):
            if image not in self._canvases:
                self._canvases[image] = super().canvas_of(image, None)
            return self._canvases[image]
        kept = self._resized.get(image)
        if kept is not None and kept[0] == size:
            return kept[1]
        made = super().canvas_of(image, size)
        if size < max(film.height, film.width):  # a larger one is not counted in `nbytes`
            self._resized[image] = size, made
        return made

    def range_of(self, pack: MapPack, options: RenderOptions) -> tuple[float, float]:
        """By the method, its image, the quantity and whether sinks count."""
        key = (pack.method, pack.image, options.quantity, options.without_sinks)
        if key not in self._ranges:
            self._ranges[key] = super().range_of(pack, options)
        return self._ranges[key]

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the films, of their grays at two sizes, and of the maps."""
        films = [self.film] if self.prior is None else [self.film, self.prior]
        packs = (*self.packs.values(), *self.prior_packs.values())
        arrays = [array for pack in packs for array in (pack.values, pack.disagreement, pack.sinks)]
        held = sum(array.nbytes for array in arrays if array is not None)
        return held + sum(film.pixels.nbytes + 2 * film.pixels.size for film in films)


@dataclass(frozen=True)
class _Kept:
    """An explanation and the version of the record that it was unpacked from."""

    version: int
    explanation: KeptExplanation


class KeptReports:
    """The reports asked for last, as many as `max_bytes` hold, unpacked; safe to use from several threads.

    Every request asks the store for the report's stamp first, so that one that was deleted or has expired is not
    found from that moment on, and one that has changed is read again; the report's lifetime begins anew with that.
    What is gone is dropped here at the next request for it, and by a thread that looks every `every_s` seconds
    (CHECK_S: 2): a deleted patient's film stays in memory no longer than that. While the store cannot be reached
    nothing is kept.
    """

    def __init__(self, store: ReportStore, max_bytes: int, every_s: float = CHECK_S) -> None:
        """Start the thread; `close` ends it, and closes the store."""
        self._store = store
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(every_s,), name="kept reports", daemon=True)
        self._thread.start()

    @property
    def nbytes(self) -> int:
        """Bytes of what is kept just now."""
        with self._lock:
            return sum(kept.explanation.nbytes for kept in self._kept.values())

    def get(self, report_id: str) -> Explanation:
        """The report's explanation, not to be changed. Raises ReportNotFoundError or StoreError."""
        try:
            stamp = self._store.touch(report_id)
        except StoreError:
            self._drop(report_id)
            raise
        with self._lock:
            kept = self._kept.get(report_id)
            if kept is not None and kept.version == stamp.version:
                self._kept.move_to_end(report_id)
                metrics.KEPT.add(result="hit")
                return kept.explanation
        metrics.KEPT.add(result="miss")
        # A change between the two questions only makes the next request read it again.
        with stages.stage("store"):
            stored = unpack_record(self._store.get(report_id).blob)
        explanation = KeptExplanation(**vars(stored))
        self._keep(report_id, _Kept(stamp.version, explanation))
        return explanation

    def limit(self, max_bytes: int) -> None:
        """Keep so much from now on; what is too much by now goes at once."""
        with self._lock:
            self._max_bytes = max_bytes
            self._trim()

    def made_at(self, report_id: str) -> float:
        """When the report was put, seconds since 1970. Raises ReportNotFoundError or StoreError."""
        return self._store.stamp(report_id).made_at

    def close(self) -> None:
        """Drop everything, end the thread and close the store."""
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._kept.clear()
        self._store.close()

    def _keep(self, report_id: str, kept: _Kept) -> None:
        with self._lock:
            self._kept.pop(report_id, None)
            if kept.explanation.nbytes > self._max_bytes:
                return
            self._kept[report_id] = kept
            self._trim()

    def _trim(self) -> None:
        """Let go of those looked at longest ago; the caller holds the lock."""
        while sum(other.explanation.nbytes for other in self._kept.values()) > self._max_bytes:
            self._kept.popitem(last=False)

    def _drop(self, report_id: str) -> None:
        with self._lock:
            self._kept.pop(report_id, None)

    def _look(self, every_s: float) -> None:
        """Drop what the store no longer has, or has otherwise, until the end."""
        while not self._ended.wait(every_s):
            with self._lock:
                held = {report_id: kept.version for report_id, kept in self._kept.items()}
            for report_id, version in held.items():
                try:
                    same = self._store.stamp(report_id).version == version
                except StoreError:
                    same = False
                if not same:
                    self._drop(report_id)
