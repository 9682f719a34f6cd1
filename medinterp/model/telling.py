"""Progress of work that comes in other parts than what is told."""

from __future__ import annotations

from collections.abc import Callable


class Telling:
    """Tells how many of `whole` (cells, tokens) are done, while `parts` (forwards, points) of the work are done."""

    def __init__(self, whole: int, parts: int, progress: Callable[[int], None] | None) -> None:
        self._whole, self._parts, self._progress = whole, parts, progress
        self._done, self.told = 0, 0

    def done(self, parts: int = 1) -> None:
        """So many more parts are done."""
        self._done += parts
        new = self._whole * self._done // self._parts - self.told
        self.told += new
        if new and self._progress is not None:
            self._progress(new)
