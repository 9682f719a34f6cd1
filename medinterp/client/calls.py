"""Every call of the API as plain data: what is asked, and what the answer becomes. Nothing is sent from here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar

from medinterp.client.answers import (
    BoxVerdicts,
    Explained,
    Heads,
    Maps,
    Method,
    Models,
    Perturbation,
    Region,
    Reliance,
    TextSources,
)
from medinterp.client.comparisons import Comparison, ReportComparison
from medinterp.client.decoding import JSON, MSGPACK, built, unpacked
from medinterp.client.files import File, FilmSource, film_bytes
from medinterp.errors import SelectionError
from medinterp.types import Faithfulness, Finding, Quantity, Word

T = TypeVar("T")
Selection = Word | Finding | Sequence[Word]
"""A word, a finding, or a phrase: words that follow one another."""
EVENTS = "text/event-stream"


class Asking(TypedDict, total=False):
    """How a film is to be read; see `Client.report`."""

    prior: FilmSource | None
    prompt: str | None
    system: str | None
    indication: str | None
    methods: Sequence[str] | None
    report: str | None
    max_new_tokens: int | None
    window: str | None
    prior_window: str | None
    force: bool
    model: str | None
    idempotency_key: str | None


class Drawing(TypedDict, total=False):
    """How a map is drawn over the film; see `GET /v1/reports/{id}/overlay.png`."""

    method: str | None
    opacity: float
    colormap: str | None
    contours: bool
    scale: Literal["report", "map"]
    size: int | None
    without_sinks: bool
    quantity: Quantity
    image: int
    cutoff: float


class Exporting(Drawing, total=False):
    """What an export takes beyond how maps are drawn; threshold: of DICOM's regions."""

    threshold: str | float


@dataclass(frozen=True)
class Answer:
    """An answer that is no error."""

    body: bytes
    media_type: str


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request. query, form: without those that are None; event: the last one of its event stream."""

    method: str
    path: str
    read: Callable[[Answer], T]
    query: Mapping[str, Any] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    form: Mapping[str, Any] = field(default_factory=dict, repr=False)
    films: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    accept: str = MSGPACK
    key: str | None = None
    event: str | None = None
    as_job: bool = False


def read_as(kind: type[T], inside: str | None = None) -> Callable[[Answer], T]:
    """Reads an answer, or one field of it, as a dataclass."""

    def read(answer: Answer) -> T:
        value = unpacked(answer.body, answer.media_type)
        return built(kind, value if inside is None else (value or {}).get(inside))

    return read


def _file(answer: Answer) -> File:
    return File(answer.body)


def _nothing(_: Answer) -> None:
    return None


def _compared(answer: Answer) -> Comparison | ReportComparison:
    value = unpacked(answer.body, answer.media_type)
    of_report = isinstance(value, Mapping) and value.get("kind") == "report"
    return built(ReportComparison, value) if of_report else built(Comparison, value)


def report(film: FilmSource, asked: Asking) -> Call[Explained]:
    """POST /reports. The files' own names, which may name a patient, are not sent. Raises as `film_bytes`."""
    form = {name: value for name, value in asked.items() if name not in ("prior", "idempotency_key")}
    prior = asked.get("prior")
    films = [("image", film_bytes(film)), *([] if prior is None else [("prior", film_bytes(prior))])]
    key = asked.get("idempotency_key") or uuid.uuid4().hex
    return Call(
        "POST", "/reports", read_as(Explained), form=told(form), films=films, accept=JSON, key=key, event="report"
    )


def get(report_id: str) -> Call[Explained]:
    """GET /reports/{id}."""
    return Call("GET", place_of(report_id), read_as(Explained), accept=JSON)


def delete(report_id: str) -> Call[None]:
    """DELETE /reports/{id}."""
    return Call("DELETE", place_of(report_id), _nothing, accept="*/*")


def maps(report_id: str, method: str | None, image: int, without_sinks: bool, quantity: Quantity) -> Call[Maps]:
    """GET /reports/{id}/maps."""
    query = told({"method": method, "image": image, "without_sinks": without_sinks, "quantity": quantity})
    return Call("GET", f"{place_of(report_id)}/maps", read_as(Maps), query)


def measure(report_id: str, method: str, image: int, options: Mapping[str, Any]) -> Call[Maps]:
    """POST /reports/{id}/maps."""
    asked = {"method": method, "image": image, **options}
    return Call("POST", f"{place_of(report_id)}/maps", read_as(Maps), json=told(asked), event="maps")


def verdict(report_id: str, selection: Selection, method: str | None, image: int) -> Call[Faithfulness]:
    """POST /reports/{id}/faithfulness."""
    asked = {**selected(selection), "method": method, "image": image}
    place = f"{place_of(report_id)}/faithfulness"
    return Call("POST", place, read_as(Faithfulness), json=told(asked), event="faithfulness")


def compare(
    report_id: str,
    questions: Sequence[str],
    methods: Sequence[str] | None,
    perturbations: Sequence[str] | None,
    seed: int,
) -> Call[Comparison | ReportComparison]:
    """POST /reports/{id}/sensitivity."""
    asked = {"questions": list(questions), "methods": methods, "perturbations": perturbations, "seed": seed}
    return Call("POST", f"{place_of(report_id)}/sensitivity", _compared, json=told(asked), event="sensitivity")


def text(report_id: str, selection: Selection) -> Call[TextSources]:
    """POST /reports/{id}/text."""
    place = f"{place_of(report_id)}/text"
    return Call("POST", place, read_as(TextSources), json=selected(selection), event="text_sources")


def heads(report_id: str, selection: Selection, image: int) -> Call[Heads]:
    """POST /reports/{id}/heads."""
    asked = {**selected(selection), "image": image}
    return Call("POST", f"{place_of(report_id)}/heads", read_as(Heads), json=asked, event="heads")


def reliance(report_id: str) -> Call[Reliance]:
    """POST /reports/{id}/reliance."""
    return Call("POST", f"{place_of(report_id)}/reliance", read_as(Reliance), json={}, event="reliance")


def boxes(report_id: str) -> Call[BoxVerdicts]:
    """POST /reports/{id}/boxes."""
    return Call("POST", f"{place_of(report_id)}/boxes", read_as(BoxVerdicts), json={}, event="boxes")


def region(
    report_id: str,
    box: Sequence[float] | None,
    cells: Sequence[tuple[int, int]] | None,
    method: str | None,
    image: int,
    without_sinks: bool,
    quantity: Quantity,
) -> Call[Region]:
    """POST /reports/{id}/region."""
    asked = {"box": box, "cells": cells, "method": method, "image": image}
    asked |= {"without_sinks": without_sinks, "quantity": quantity}
    return Call("POST", f"{place_of(report_id)}/region", read_as(Region), json=told(asked))


def overlay(report_id: str, selection: Selection, drawing: Drawing) -> Call[File]:
    """GET /reports/{id}/overlay.png."""
    query = {**selected(selection), **drawing}
    return Call("GET", f"{place_of(report_id)}/overlay.png", _file, told(query), accept="image/png")


def film_png(report_id: str, size: int | None, view: str, image: int, depth: int) -> Call[File]:
    """GET /reports/{id}/film.png."""
    query = {"size": size, "view": view, "image": image, "depth": depth}
    return Call("GET", f"{place_of(report_id)}/film.png", _file, told(query), accept="image/png")


def export(report_id: str, form: str, selection: Selection | None, asked: Exporting) -> Call[File]:
    """GET /reports/{id}/export."""
    query = {"format": form, **({} if selection is None else selected(selection)), **asked}
    return Call("GET", f"{place_of(report_id)}/export", _file, told(query), accept="*/*")


METHODS: Call[tuple[Method, ...]] = Call("GET", "/methods", read_as(tuple[Method, ...], "methods"), accept=JSON)
PERTURBATIONS: Call[tuple[Perturbation, ...]] = Call(
    "GET", "/perturbations", read_as(tuple[Perturbation, ...], "perturbations"), accept=JSON
)
MODELS: Call[Models] = Call("GET", "/models", read_as(Models), accept=JSON)
READY: Call[None] = Call("GET", "/readyz", _nothing, accept=JSON)


def selected(selection: Selection) -> dict[str, Any]:
    """A selection as the API takes it. Raises SelectionError for no words, or words with others between them."""
    if isinstance(selection, Finding):
        return {"finding": selection.index}
    words = (selection,) if isinstance(selection, Word) else tuple(selection)
    indices = sorted({word.index for word in words})
    if not indices:
        raise SelectionError("the selection holds no word of the report")
    if indices[-1] - indices[0] != len(indices) - 1:
        raise SelectionError("a phrase is of words that follow one another; ask about each part by itself")
    return {"words": f"{indices[0]}-{indices[-1]}"}


def place_of(made_id: str, kind: str = "reports") -> str:
    """Where something is. Raises SelectionError for what cannot be an id, so that nothing else is asked for."""
    if not (made_id.isascii() and made_id.isalnum()):
        raise SelectionError("this is no id of the service")
    return f"/{kind}/{made_id}"


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without those that are None."""
    return {name: value for name, value in values.items() if value is not None}
