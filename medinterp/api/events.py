"""The event stream of `POST /v1/reports` with `Accept: text/event-stream`.

    event: text     data: {"delta": "No pneu"}      as the report grows, any number of times
    event: report   data: ExplanationModel          once, and last
    event: error    data: Problem                   instead of `report`, and last

A line that starts with a colon is a sign of life and carries nothing.
"""

from __future__ import annotations

from pydantic import BaseModel

MEDIA_TYPE = "text/event-stream"
SIGN_OF_LIFE = b": alive\n\n"


def event(name: str, data: BaseModel) -> bytes:
    """Frame one event: UTF-8, the model as one line of JSON.

    JSON escapes line feeds inside strings, so the data is one line by construction.
    """
    if not name.isidentifier():
        raise ValueError(f"{name!r} cannot name an event")
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n".encode()
