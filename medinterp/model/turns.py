"""Whose turn it is on a model: a lock in the order of asking, that lets a writer go on between a question's pieces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from medinterp.errors import GenerationCancelled

CALLER: ContextVar[str] = ContextVar("CALLER", default="")
"""On whose behalf a thread asks: the turns of one caller do not keep another one waiting."""
POLL_S = 0.1
"""How often who waits is asked whether anybody still wants the answer."""
Cancelled = Callable[[], bool]


@dataclass(eq=False)
class _Ticket:
    caller: str


class Turns:
    """A re-entrant lock; whoever runs the model holds it.

    `with turns:` (or `asking`) holds it for a whole piece of work, a question. A writer holds it by `step`, for one
    step of all its reports; a pass that is as short as a step holds it by `once`, and steps and passes alternate. Where
    questions and those want it, those get as much time as the question's last piece took, and then the question has its
    next one: a question calls `give_way` between its pieces. Other questions wait for its end, for what it holds in
    memory. Among questions, and among passes, the next one is of the caller who was served the longest ago, of these
    the first that came.
    """

    def __init__(self) -> None:
        self.piece_s: float | None = None
        """How long a piece of a question may take, so that nobody's writing stands still for longer; None: any time."""
        self._changed = threading.Condition(threading.Lock())
        self._owner: int | None = None
        self._depth = 0
        self._began = 0.0
        self._questions: list[_Ticket] = []
        self._passes: list[_Ticket] = []
        self._steps: list[_Ticket] = []
        self._passed_last = False
        self._served: dict[str, int] = {}
        self._turn = 0
        self._paused = False
        self._writers = 0
        self._written_s = 0.0
        self._due_s = 0.0
        """What writers will have written when it is a question's turn again."""

    def __enter__(self) -> Turns:
        """Wait for the model, behind those whose turn comes first."""
        self._enter(None)
        return self

    def __exit__(self, *_: object) -> None:
        """Let the next one in."""
        with self._changed:
            if not self.mine:
                return
            self._depth -= 1
            if self._depth == 0:
                self._put_down()

    @contextmanager
    def asking(self, cancelled: Cancelled | None) -> Iterator[None]:
        """Hold the model for a question; raises GenerationCancelled when nobody waits for the answer any more."""
        self._enter(cancelled)
        try:
            yield
        finally:
            self.__exit__()

    @property
    def mine(self) -> bool:
        """Whether the calling thread holds the model."""
        return self._owner == threading.get_ident()

    @property
    def held_s(self) -> float:
        """Seconds since whoever holds the model began with it: a step, a pass, or one piece of a question."""
        with self._changed:
            return 0.0 if self._owner is None else time.perf_counter() - self._began

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
        """Hold the model for one step of a writer, unless it is a question's turn."""
        with self._shortly(self._steps, None):
            yield

    @contextmanager
    def once(self, cancelled: Cancelled | None = None) -> Iterator[None]:
        """Hold the model for one pass; raises GenerationCancelled when nobody waits for the answer any more."""
        with self._shortly(self._passes, cancelled):
            yield

    def give_way(self, cancelled: Cancelled | None, done: str) -> None:
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
                try:
                    self._changed.wait_for(lambda: self._question_may)
                finally:  # an interrupted question still ends as the owner
                    self._changed.wait_for(lambda: self._owner is None)
                    self._owner, self._depth = threading.get_ident(), depth
                    self._began = time.perf_counter()
            finally:
                self._paused = False
                self._changed.notify_all()

    def _enter(self, cancelled: Cancelled | None) -> None:
        if not self.mine:
            ticket = _Ticket(CALLER.get())
            self._wait(
                self._questions,
                ticket,
                lambda: not self._paused and self._first(self._questions) is ticket and self._question_may,
                cancelled,
            )
        with self._changed:
            self._depth += 1

    @contextmanager
    def _shortly(self, queue: list[_Ticket], cancelled: Cancelled | None) -> Iterator[None]:
        if self.mine:
            yield
            return
        ticket = _Ticket(CALLER.get())
        self._wait(queue, ticket, lambda: self._next_short is ticket and self._short_may, cancelled)
        try:
            with self._changed:
                self._depth, self._passed_last = 1, queue is self._passes
            yield
        finally:
            with self._changed:
                self._written_s += time.perf_counter() - self._began
                self._depth = 0
                self._leave()

    def _wait(
        self, queue: list[_Ticket], ticket: _Ticket, may: Callable[[], bool], cancelled: Cancelled | None
    ) -> None:
        """Stand in a queue until the ticket's turn comes, and take the model."""
        with self._changed:
            queue.append(ticket)
        try:
            while True:
                with self._changed:
                    if self._changed.wait_for(may, None if cancelled is None else POLL_S):
                        self._owner, self._began = threading.get_ident(), time.perf_counter()
                        self._turn += 1
                        if queue is not self._steps:
                            self._served[ticket.caller] = self._turn
                        return
                if cancelled is not None and cancelled():
                    raise GenerationCancelled("cancelled before it began")
        finally:
            with self._changed:
                queue.remove(ticket)
                self._changed.notify_all()

    def _first(self, queue: list[_Ticket]) -> _Ticket:
        return min(queue, key=lambda ticket: self._served.get(ticket.caller, 0))

    @property
    def _next_short(self) -> _Ticket | None:
        """Of a writer where a pass was the last, so that passes never keep writers waiting; else of a pass."""
        if self._steps and (self._passed_last or not self._passes):
            return self._steps[0]
        return self._first(self._passes) if self._passes else None

    @property
    def _short_may(self) -> bool:
        wanted = self._paused or bool(self._questions)
        return self._owner is None and not (wanted and self._question_may)

    @property
    def _question_may(self) -> bool:
        others = self._writers or self._steps or self._passes
        return self._owner is None and (not others or self._written_s >= self._due_s)

    def _put_down(self) -> None:
        """A question's piece is over."""
        self._due_s = self._written_s + time.perf_counter() - self._began
        self._depth = 0
        self._leave()

    def _leave(self) -> None:
        self._owner = None
        if not (self._questions or self._passes or self._paused):
            self._served.clear()
        self._changed.notify_all()
