"""Whose turn it is on a model: a lock in the order of asking, that lets a writer go on between a question's pieces."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from medinterp.errors import GenerationCancelled

CALLER: ContextVar[str] = ContextVar("CALLER", default="")
"""On whose behalf a thread asks: the turns of one caller do not keep another one waiting."""


@dataclass(eq=False)
class _Ticket:
    caller: str


class Turns:
    """A re-entrant lock; whoever runs the model holds it.

    `with turns:` holds it for a whole piece of work, a question: the next one is of the caller whose last one is the
    longest ago, among those the first that came. A writer holds it by `step`, for one step of all its reports. Where
    both want it, writers get as much time as the question's last piece took, and then the question has its next one: a
    question calls `give_way` between its pieces. Other questions wait for its end, for what it holds in memory.
    """

    def __init__(self) -> None:
        self.piece_s: float | None = None
        """How long a piece of a question may take, so that nobody's writing stands still for longer; None: any time."""
        self._changed = threading.Condition(threading.Lock())
        self._owner: int | None = None
        self._depth = 0
        self._began = 0.0
        self._queue: list[_Ticket] = []
        self._served: dict[str, int] = {}
        self._turn = 0
        self._steps: deque[object] = deque()
        self._paused = False
        self._writers = 0
        self._written_s = 0.0
        self._due_s = 0.0
        """What writers will have written when it is a question's turn again."""

    def __enter__(self) -> Turns:
        """Wait for the model, behind those who asked before."""
        me = threading.get_ident()
        with self._changed:
            if self._owner != me:
                ticket = _Ticket(CALLER.get())
                self._queue.append(ticket)
                try:
                    self._changed.wait_for(lambda: not self._paused and self._next is ticket and self._question_may)
                    self._owner, self._began = me, time.perf_counter()
                    self._turn += 1
                    self._served[ticket.caller] = self._turn
                finally:
                    self._queue.remove(ticket)
                    if not self._queue:
                        self._served.clear()
                    self._changed.notify_all()
            self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._put_down()

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds the model."""
        return self._owner == threading.get_ident()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A writer has reports: between its steps it will be back."""
        with self._changed:
            self._writers += 1
        try:
            yield
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold the model for one step, unless it is a question's turn."""
        if self.mine:
            yield
            return
        with self._changed:
            ticket = object()
            self._steps.append(ticket)
            try:
                self._changed.wait_for(lambda: self._steps[0] is ticket and self._step_may)
                self._owner, self._depth, self._began = threading.get_ident(), 1, time.perf_counter()
            finally:
                self._steps.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._written_s += time.perf_counter() - self._began
                self._owner, self._depth = None, 0
                self._changed.notify_all()

    def give_way(self, cancelled: Callable[[], bool] | None, done: str) -> None:
        """Between two pieces of a question: let writers run, then go on.

        done: what there is so far, such as "4 of 256 cells". Raises GenerationCancelled when nobody waits for the
        answer any more.
        """
        if cancelled is not None and cancelled():
            raise GenerationCancelled(f"cancelled after {done}")
        if not self.mine:
            return
        with self._changed:
            depth, self._paused = self._depth, True
            self._put_down()
            try:
                self._changed.wait_for(lambda: self._question_may)
            finally:
                self._changed.wait_for(lambda: self._owner is None)  # an interrupted question still ends as the owner
                self._owner, self._depth, self._paused = threading.get_ident(), depth, False
                self._began = time.perf_counter()

    @property
    def _next(self) -> _Ticket:
        return min(self._queue, key=lambda ticket: self._served.get(ticket.caller, 0))

    @property
    def _step_may(self) -> bool:
        wanted = self._paused or bool(self._queue)
        return self._owner is None and not (wanted and self._question_may)

    @property
    def _question_may(self) -> bool:
        writing = self._writers or self._steps
        return self._owner is None and (not writing or self._written_s >= self._due_s)

    def _put_down(self) -> None:
        self._due_s = self._written_s + time.perf_counter() - self._began
        self._owner, self._depth = None, 0
        self._changed.notify_all()
