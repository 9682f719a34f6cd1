"""Who writes next: reports of many callers in the slots of one writer, joining and leaving between its steps."""

from __future__ import annotations

import atexit
import copy
import queue
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from medinterp.errors import GenerationCancelled, ModelError
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs
from medinterp.model.room import Room
from medinterp.model.slots import Slots
from medinterp.model.turns import CALLER
from medinterp.model.writer import OVERFLOW, Decoded, DecodeOptions, Finished, Writer, Writing
from medinterp.stages import tell

POLL_S = 0.05
"""How often a caller that waits is asked whether it still does."""
LINGER_S = 5.0
"""How long the writing thread waits for the next report before it ends; another one is started when there is need."""
GRAIN = 256
"""Positions by which slots grow where their length was not fixed."""
TOGETHER = 4
"""Prompts that are read between two steps at most, where somebody's report is being written."""
CLOSING_S = 10.0


@dataclass(eq=False)
class _Request:
    """A report that somebody waits for. told: tokens as they are chosen, and last what came of it.

    asked_at, admitted_at: when it came, and when a slot was made ready for it (seconds of perf_counter).
    """

    prompt: PromptInputs
    options: DecodeOptions
    seed: int | None
    caller: str
    aloud: bool
    told: queue.SimpleQueue[int | Finished | Exception] = field(default_factory=queue.SimpleQueue)
    gone: bool = False
    asked_at: float = field(default_factory=time.perf_counter)
    admitted_at: float | None = None


class Scheduler:
    """Writes with one model for many threads at once: continuous batching.

    A waiting report is admitted when a slot is free: the next one is of the caller who has the fewest reports in slots,
    among those the one that waits longest. Prompts of one length that are admitted at once are read in one pass.
    Between two steps, questions to the model have their turn (turns.py).
    """

    def __init__(self, loaded: LoadedModel, room: Room | None = None, *, max_slots: int = 1) -> None:
        """room: what the slots hold, fixed (room.py); without it they are as long as what is asked for, and grow."""
        self._loaded, self._room = loaded, room
        self._count = room.slots if room is not None else max_slots
        self._writer: Writer | None = None
        self._waiting: list[_Request] = []
        self._running: dict[Writing, _Request] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._moved_at = time.monotonic()
        _SCHEDULERS.add(self)

    @property
    def alive(self) -> bool:
        """Whether reports that wait will be written: the writing thread has not died."""
        return self._thread is None or self._thread.is_alive()

    @property
    def still_s(self) -> float:
        """Seconds since the writing thread last went on, while somebody waits for it: one step, with the turns of
        others between two steps, unless it is stuck."""
        busy = self._waiting or self._running
        return time.monotonic() - self._moved_at if busy else 0.0

    @property
    def slots(self) -> int:
        """Reports that can be written side by side."""
        return self._count

    @property
    def busy(self) -> int:
        """Reports that are being written."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Reports that wait for a slot."""
        return len(self._waiting)

    def close(self) -> None:
        """End the writing thread between two steps; whoever waits gets GenerationCancelled."""
        with self._changed:
            self._closed, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSING_S)

    def warm(self) -> None:
        """Make the slots of a fixed room, and every step that is a graph.

        Raises ModelError when CUDA cannot capture a step.
        """
        if self._room is None:
            return
        with self._loaded.lock.step(), torch.inference_mode(), _on(self._loaded.device):
            self._writer = self._made(self._room.length, self._room.rows)
            self._writer.warm()

    def write(
        self,
        prompt: PromptInputs,
        options: DecodeOptions,
        seed: int | None = None,
        *,
        on_token: Callable[[int], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Decoded:
        """Write one report; returns when it is whole. The callbacks are called in the calling thread.

        Raises RequestTooLargeError for a report that no slot can hold, GenerationCancelled, ModelError when the model
        overflows. The caller does not hold loaded.lock.
        """
        if self._loaded.lock.mine:
            raise RuntimeError("whoever holds the model would wait for itself")
        if self._room is not None:
            self._room.check(prompt.length, options.max_new_tokens)
        if cancelled is not None and cancelled():
            raise GenerationCancelled("cancelled after 0 tokens")
        request = _Request(prompt, options, seed, CALLER.get(), on_token is not None)
        with self._changed:
            if self._closed:
                raise GenerationCancelled("the writer is closed")
            if not self._waiting and not self._running:
                self._moved_at = time.monotonic()
            self._waiting.append(request)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        written = 0
        try:
            while True:
                try:
                    item = request.told.get(timeout=POLL_S)
                except queue.Empty:
                    item = None
                if isinstance(item, Finished):
                    decoded = item.decoded()
                    _tell_stages(request)
                    return decoded
                if isinstance(item, Exception):
                    raise item
                if item is not None and on_token is not None:
                    written += 1
                    on_token(item)
                if cancelled is not None and cancelled():
                    raise GenerationCancelled(f"cancelled after {written} tokens")
        finally:
            request.gone = True

    def _run(self) -> None:
        """The writing thread."""
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._closed, LINGER_S)
                    if self._closed or not self._waiting:
                        self._thread = None
                        return
                self._write_on()
        finally:
            self._end(GenerationCancelled("the writer was closed before the report was finished"))

    def _write_on(self) -> None:
        """Until nobody waits and nothing is being written."""
        turns = self._loaded.lock
        with turns.writing(), torch.inference_mode(), _on(self._loaded.device):
            while (self._waiting or self._running) and not self._closed:
                try:
                    with turns.step():
                        self._moved_at = time.monotonic()
                        self._go_on()
                except Exception as error:  # whatever it is, those who wait learn of it, and the next are served
                    self._fail(error)

    def _end(self, error: GenerationCancelled) -> None:
        """Nobody is written for any more; where the thread has died, the next report starts another."""
        with self._changed:
            if self._thread is not threading.current_thread() and not self._closed:
                return  # it ended for want of work, and another may have begun
            self._thread = None
            left = [*self._waiting, *self._running.values()]
            self._waiting.clear()
        self._running.clear()
        if self._writer is not None:
            self._writer.free_all()
        for request in left:
            request.told.put(error)

    def _go_on(self) -> None:
        """Let the gone go and the waiting in; then one token for everybody."""
        self._let_go()
        self._let_in()
        writer = self._writer
        if writer is None or not writer.busy:
            return
        for writing, token in writer.choose():
            request = self._running[writing]
            if writing.overflowed:
                self._drop(writing, ModelError(OVERFLOW))
            elif token is not None and request.aloud:
                request.told.put(token)
        for writing in writer.ended():
            try:
                finished = writer.finish(writing)
            except Exception as error:  # its own alone, such as no room for its evidence
                self._drop(writing, error)
            else:
                self._running.pop(writing).told.put(finished)
        if writer.busy:
            writer.step()

    def _drop(self, writing: Writing, error: Exception) -> None:
        assert self._writer is not None
        self._writer.free(writing)
        self._running.pop(writing).told.put(_own(error))

    def _let_go(self) -> None:
        with self._changed:
            self._waiting = [request for request in self._waiting if not request.gone]
        for writing in [writing for writing, request in self._running.items() if request.gone]:
            assert self._writer is not None
            self._writer.free(writing)
            del self._running[writing]

    def _let_in(self) -> None:
        """Admit as many as there are slots for, those of one length together; one group where others are written."""
        while chosen := self._next():
            others = bool(self._running)
            length, rows = self._needed(chosen[0])
            fits = self._writer is not None and self._writer.holds(length, rows)
            if not fits and self._running:
                return  # slots grow when they are empty
            with self._changed:
                for request in chosen:
                    self._waiting.remove(request)
            try:
                if not fits:
                    self._make(length, rows)
                self._admit(chosen)
            except Exception as error:  # theirs alone: those in slots go on
                for request in chosen:
                    request.told.put(_own(error))
            if others:
                return

    def _admit(self, chosen: list[_Request]) -> None:
        """Read prompts together, or one by one where there is no room for all at once."""
        for request in chosen:
            request.admitted_at = request.admitted_at or time.perf_counter()
        assert self._writer is not None
        try:
            admitted = self._writer.admit_together(
                [request.prompt for request in chosen],
                [request.options for request in chosen],
                [request.seed for request in chosen],
            )
        except Exception as error:
            if len(chosen) == 1:
                chosen[0].told.put(_own(error))
            else:
                for request in chosen:
                    self._admit([request])
            return
        self._running.update(zip(admitted, chosen, strict=True))

    def _make(self, length: int, rows: int) -> None:
        """Slots as long as the old ones and as what is asked for; where that does not fit, as what is asked for."""
        wanted = [(length, rows)]
        if self._writer is not None and self._room is None:
            wanted.insert(0, (max(length, self._writer.slots.length), max(rows, self._writer.slots.rows)))
        self._writer = None  # let go of the old ones first
        for number, size in enumerate(wanted, start=1):
            try:
                self._writer = self._made(*size)
                return
            except torch.OutOfMemoryError:
                if number == len(wanted):
                    raise

    def _needed(self, request: _Request) -> tuple[int, int]:
        """Positions and rows of the slots that a report needs."""
        if self._room is not None:
            return self._room.length, self._room.rows
        report = request.options.max_new_tokens
        return -(-(request.prompt.length + report) // GRAIN) * GRAIN, -(-(report + 1) // GRAIN) * GRAIN

    def _next(self) -> list[_Request]:
        """Who is admitted next: at most as many as there are free slots, of one length, whose reports fit alike."""
        with self._changed:
            waiting = list(self._waiting)
        free = self._count - len(self._running)
        if self._running:
            free = min(free, TOGETHER)
        writing = Counter(request.caller for request in self._running.values())
        chosen: list[_Request] = []
        while waiting and len(chosen) < free:
            # Of equal ones the first: it waits longest.
            first = min(waiting, key=lambda request: writing[request.caller])
            if chosen and not _alike(first, chosen[0]):
                break
            waiting.remove(first)
            writing[first.caller] += 1
            chosen.append(first)
        return chosen

    def _made(self, length: int, rows: int) -> Writer:
        return Writer(Slots(self._loaded, self._count, length, rows, compiled=bool(self._room and self._room.compiled)))

    def _fail(self, error: Exception) -> None:
        """A step failed: no report can go on."""
        for request in self._running.values():
            request.told.put(_own(error))
        self._running.clear()
        if self._writer is not None:
            self._writer.free_all()


_SCHEDULERS: weakref.WeakSet[Scheduler] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before the interpreter ends: a thread that is still in torch then would abort the process."""
    for scheduler in list(_SCHEDULERS):
        scheduler.close()


def _tell_stages(request: _Request) -> None:
    """How long the report waited, and how long it was written; told in the thread of who asked."""
    ended, now_ns = time.perf_counter(), time.time_ns()
    admitted = request.admitted_at
    if admitted is not None:
        tell("wait", admitted - request.asked_at, ended_ns=now_ns - round((ended - admitted) * 1e9))
        tell("write", ended - admitted, ended_ns=now_ns)


def _own(error: Exception) -> Exception:
    """An error for one of several callers, who each raise it; not every one can be copied."""
    try:
        return copy.copy(error)
    except Exception:
        return ModelError(f"{type(error).__name__}: {error}")


def _alike(one: _Request, other: _Request) -> bool:
    """Whether two reports can be admitted together."""
    return one.prompt.length == other.prompt.length and one.options.max_new_tokens <= other.options.max_new_tokens


def _on(device: torch.device) -> torch.cuda.device | nullcontext[None]:
    """Work of a thread on its model's device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
