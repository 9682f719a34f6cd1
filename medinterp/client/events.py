"""Event streams (WHATWG HTML, section 9.2), and what the last event of ours becomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from medinterp.client.answers import Progress
from medinterp.client.calls import Answer, Call
from medinterp.client.decoding import JSON, built
from medinterp.client.errors import NotUnderstoodError, UnreachableError, problem_of

T = TypeVar("T")
OnProgress = Callable[[Progress], object]


class EventParser:
    """Takes the bytes of a stream as they come.

    Lines end with LF here. httpx's own `iter_lines` ends them at U+2028 and U+0085 too, which may stand in a report.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._name, self._data = "", ""

    def push(self, chunk: bytes) -> Iterator[tuple[str, str]]:
        """The name and data of each event that is whole now."""
        self._rest += chunk
        *lines, rest = self._rest.split(b"\n")
        self._rest = bytearray(rest)
        for raw in lines:
            line = raw.removesuffix(b"\r").decode(errors="replace")
            if not line:
                if self._name or self._data:
                    yield self._name, self._data
                self._name, self._data = "", ""
            elif line.startswith("event:"):
                self._name = line[6:].strip()
            elif line.startswith("data:"):
                self._data += ("\n" if self._data else "") + line[5:].removeprefix(" ")


class Ending(Generic[T]):
    """Reads a call's events: words and progress on the way, the answer last."""

    def __init__(self, call: Call[T], on_progress: OnProgress | None = None) -> None:
        self._call, self._on_progress = call, on_progress
        self._parser = EventParser()
        self._answer: tuple[T] | None = None

    def push(self, chunk: bytes) -> Iterator[str]:
        """Each piece of text that has come. Raises ProblemError for an event `error`."""
        for name, data in self._parser.push(chunk):
            if name == self._call.event:
                self._answer = (self._call.read(Answer(data.encode(), JSON)),)
                continue
            told = _object(data)
            if name == "error":
                raise problem_of(told, 500, {})
            if name == "progress" and self._on_progress is not None:
                self._on_progress(built(Progress, told, "an event"))
            elif name == "text":
                yield str(told.get("delta", ""))

    def answer(self) -> T:
        """The last event's. Raises UnreachableError when it never came."""
        if self._answer is None:
            raise UnreachableError("the answer broke off; ask again")
        return self._answer[0]


def _object(data: str) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise NotUnderstoodError("an event of the answer is no JSON object")
    return told
