"""What a request's time goes into: told where it is spent, for whoever listens (metrics, traces).

Nothing of a request is told but how long it took: no name, no number, no text.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

StageName = Literal["decode", "wait", "write", "explain", "measure", "maps", "method", "judge", "render", "store"]
"""decode: an upload becomes a film, its wait for a decoding worker included; wait: for the model; write: a report in a
slot, from its prompt to its evidence, or by an engine; explain: the pass over a report that was given or an engine's;
measure: methods that ask the model again; maps: the trace becomes maps; method: one method of these two; judge: other
questions to the model; render: a picture or a file; store: a report is kept, or unpacked to be drawn."""


@dataclass(frozen=True)
class Stage:
    """A stage that has ended, well or not. began_ns: since 1970; method: of the registry, where it is one's."""

    name: StageName
    began_ns: int
    seconds: float
    method: str | None = None


NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""Switches off what FastAPI (0.165) tells by itself: it writes paths, values and errors' texts into what it sends."""
_LISTENERS: list[Callable[[Stage], None]] = []


def listen(listener: Callable[[Stage], None]) -> None:
    """Call it with every stage of this process from now on, in the thread and the context that the stage was in."""
    if listener not in _LISTENERS:
        _LISTENERS.append(listener)


def tell(name: StageName, seconds: float, method: str | None = None, *, ended_ns: int | None = None) -> None:
    """A stage has ended, now unless ended_ns (since 1970) says when."""
    ended = time.time_ns() if ended_ns is None else ended_ns
    told = Stage(name, ended - round(seconds * 1e9), seconds, method)
    for listener in _LISTENERS:
        listener(told)


@contextmanager
def stage(name: StageName, method: str | None = None) -> Iterator[None]:
    """Time what is inside, however it ends."""
    began = time.perf_counter()
    try:
        yield
    finally:
        tell(name, time.perf_counter() - began, method)
