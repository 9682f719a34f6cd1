"""Event streams of the API, asked for with `Accept: text/event-stream`.

    POST /v1/reports
    event: text      data: {"delta": "No pneu"}      as the report grows, any number of times; a given one whole
    event: progress  data: ProgressModel             while the model is asked again, any number of times
    event: report    data: ExplanationModel          once, and last
    POST /v1/reports/{id}/maps, .../faithfulness, .../sensitivity, .../text, .../heads, .../reliance, .../boxes
    event: progress  data: ProgressModel             any number of times
    event: maps, faithfulness, sensitivity, text_sources, heads, reliance or boxes    once, and last
    GET /v1/jobs/{id}/events
    id: 7
    event: job       data: JobModel                  at every change; Last-Event-ID goes on after it
    All
    event: error     data: Problem                   instead of the last one

A line that starts with a colon is a sign of life and carries nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from medinterp.api.problem_handlers import unforeseen_problem
from medinterp.api.problems import problem_of
from medinterp.errors import MedInterpError

MEDIA_TYPE = "text/event-stream"
SIGN_OF_LIFE = b": alive\n\n"
SIGN_OF_LIFE_S = 10.0


def event(name: str, data: BaseModel, event_id: str | None = None) -> bytes:
    """Frame one event: UTF-8, the model as one line of JSON; event_id: by which a caller goes on after it.

    JSON escapes line feeds inside strings, so the data is one line by construction.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot name an event")
    numbered = "" if event_id is None else f"id: {event_id}\n"
    return f"{numbered}event: {name}\ndata: {data.model_dump_json()}\n\n".encode()


async def respond(frames: AsyncGenerator[bytes]) -> StreamingResponse:
    """Answer with framed events. What fails before the first one raises, so that it becomes a proper HTTP status."""
    first = await anext(frames)

    async def body() -> AsyncGenerator[bytes]:
        async with aclosing(frames):
            yield first
            try:
                async for frame in frames:
                    yield frame
            except MedInterpError as error:
                yield event("error", problem_of(error))
            except Exception:
                # The status is long sent: the reader must still learn that no answer comes.
                yield event("error", unforeseen_problem())
                raise

    return StreamingResponse(body(), media_type=MEDIA_TYPE)
