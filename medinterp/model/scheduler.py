"""Who writes next: reports of many callers in the slots of one writer, joining and leaving between its steps."""

from __future__ import annotations

import copy
import queue
import threading
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

POLL_S = 0.05
"""How often a caller that waits is asked whether it still does."""
LINGER_S = 5.0
"""How long the writing thread waits for the next report before it ends; another one is started when there is need."""
GRAIN = 256
"""Positions by which slots grow where their length was not fixed."""


@dataclass(eq=False)
class _Request:
    """A report that somebody waits for. told: tokens as they are chosen, and last what came of it."""

    prompt: PromptInputs
    options: DecodeOptions
    seed: int | None
    caller: str
    aloud: bool
    told: queue.SimpleQueue[int | Finished | Exception] = field(default_factory=queue.SimpleQueue)
    gone: bool = False


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
                    return item.decoded()
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
        turns = self._loaded.lock
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._waiting, LINGER_S):
                    self._thread = None
                    return
            with turns.writing(), torch.inference_mode(), _on(self._loaded.device):
                while self._waiting or self._running:
                    try:
                        with turns.step():
                            self._go_on()
                    except Exception as error:  # whatever it is, those who wait learn of it, and the next are served
                        self._fail(error)

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
                writer.free(writing)
                del self._running[writing]
                request.told.put(ModelError(OVERFLOW))
            elif token is not None and request.aloud:
                request.told.put(token)
        for writing in writer.ended():
            self._running.pop(writing).told.put(writer.finish(writing))
        if writer.busy:
            writer.step()

    def _let_go(self) -> None:
        with self._changed:
            self._waiting = [request for request in self._waiting if not request.gone]
        for writing in [writing for writing, request in self._running.items() if request.gone]:
            assert self._writer is not None
            self._writer.free(writing)
            del self._running[writing]

    def _let_in(self) -> None:
        """Admit as many as there are slots for, those of one length together."""
        while chosen := self._next():
            length, rows = self._needed(chosen[0])
            slots = None if self._writer is None else self._writer.slots
            fits = slots is not None and length <= slots.length and rows <= slots.rows
            if not fits and self._running:
                return  # slots grow when they are empty
            with self._changed:
                for request in chosen:
                    self._waiting.remove(request)
            try:
                if self._writer is None or not fits:
                    self._writer = slots = None  # let go of the old ones first
                    self._writer = self._made(length, rows)
                admitted = self._writer.admit_together(
                    [request.prompt for request in chosen],
                    [request.options for request in chosen],
                    [request.seed for request in chosen],
                )
            except Exception as error:  # theirs alone: those in slots go on
                for request in chosen:
                    request.told.put(copy.copy(error))
                continue
            self._running.update(zip(admitted, chosen, strict=True))

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
            request.told.put(copy.copy(error))
        self._running.clear()
        if self._writer is not None:
            self._writer.free_all()


def _alike(one: _Request, other: _Request) -> bool:
    """Whether two reports can be admitted together."""
    return one.prompt.length == other.prompt.length and one.options.max_new_tokens <= other.options.max_new_tokens


def _on(device: torch.device) -> torch.cuda.device | nullcontext[None]:
    """Work of a thread on its model's device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
