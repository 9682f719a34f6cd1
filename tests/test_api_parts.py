"""The parts of the HTTP API that need no service: arrays, encodings, problems, events, pacing."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from medinterp import errors
from medinterp.api import events, problems
from medinterp.api.negotiation import JSON, MSGPACK, NPZ, encode, preferred
from medinterp.api.pacing import Silence, paced
from medinterp.api.schema import MapPackModel, ReportModel, TextDelta
from medinterp.api.selection import FindingSelection, WordSelection, parse_selection, selected
from medinterp.errors import SelectionError
from medinterp.types import FilmWarning
from tests.api_samples import sample_explanation
from tests.report_samples import TEXT, THINKING, all_kinds


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32]),
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_arrays_come_back_from_both_encodings(values: Any) -> None:
    pack = MapPackModel(method="raw", values=values, signed=False, additive=True)
    from_json = MapPackModel.model_validate_json(encode(pack, JSON))
    from_msgpack = MapPackModel.model_validate(msgpack.unpackb(encode(pack, MSGPACK)))
    for again in (from_json, from_msgpack):
        assert again.values.dtype == values.dtype
        np.testing.assert_array_equal(again.values, values)


def test_arrays_on_the_wire_are_little_endian_and_row_major() -> None:
    values = np.asfortranarray(np.arange(6, dtype=">f4").reshape(1, 2, 3))
    sent = json.loads(encode(MapPackModel(method="raw", values=values, signed=False, additive=True), JSON))
    assert sent["values"]["shape"] == [1, 2, 3]
    assert base64.b64decode(sent["values"]["data"]) == np.arange(6, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    "array",
    [
        {"dtype": "object", "shape": [1], "data": "AAAAAAAAAAA="},
        {"dtype": "float32", "shape": [2], "data": "AAAAAA=="},
        {"dtype": "float32", "shape": [-1], "data": "AAAAAA=="},
        {"dtype": "float32", "shape": [1], "data": "%%%"},
        {"dtype": "float32", "shape": [1], "data": "AAAAAA==", "order": "F"},
        [0.0],
    ],
)
def test_a_broken_array_is_refused(array: Any) -> None:
    with pytest.raises(ValidationError):
        MapPackModel.model_validate({"method": "raw", "values": array, "signed": False, "additive": False})


def test_both_encodings_carry_the_same_fields() -> None:
    report = ReportModel.model_validate(sample_explanation().report)
    assert json.loads(encode(report, JSON)) == msgpack.unpackb(encode(report, MSGPACK))


def test_a_report_says_how_sure_it_is_in_both_encodings() -> None:
    """Every kind of finding, and what is none."""
    model = ReportModel.model_validate(all_kinds())
    packed = msgpack.unpackb(encode(model, MSGPACK))
    assert json.loads(encode(model, JSON)) == packed
    nodule, consolidation, effusion, pneumothorax = packed["findings"][:4]
    start = TEXT.index("may represent")
    assert nodule["hedge"] == [start, start + len("may represent")]
    assert (nodule["status"], nodule["side"], nodule["zones"]) == ("uncertain", "left", ["upper"])
    assert (consolidation["status"], consolidation["zones"]) == ("present", ["mid", "lower"])
    assert consolidation["hedge"] is consolidation["change"] is None
    assert (effusion["status"], effusion["change"]) == ("present", "larger")
    assert pneumothorax["status"] == "absent"
    assert not {"present", "zone"} & set(nodule), "one way to say a thing"
    assert [(one["name"], one["role"], one["section"]) for one in packed["mentions"]] == [
        ("pneumothorax", "history", "TECHNIQUE")
    ]
    assert [one["reading"] for one in packed["sentences"]] == ["other"] * 2 + ["read"] * 2 + ["unread"] + ["read"] * 4
    (thinking,) = packed["thinking"]
    assert (thinking["start"], TEXT[: thinking["end"]]) == (0, THINKING)
    assert thinking["token_indices"][0] == 0
    assert ReportModel.model_validate(packed) == model
    for wrong in ({"status": "maybe"}, {"change": "bigger"}, {"present": True}):
        with pytest.raises(ValidationError):
            ReportModel.model_validate({**packed, "findings": [{**nodule, **wrong}]})


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (MSGPACK, MSGPACK),
        ("application/json;q=0.5, application/msgpack", MSGPACK),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        ("application/json;q=0, */*", MSGPACK),
        ("Application/X-NPZ ; Q=1", NPZ),
        ("application/msgpack;q=high, application/json;q=0.1", JSON),
        ("text/html", None),
        ("application/json;q=0", None),
    ],
)
def test_negotiation(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, (JSON, MSGPACK, NPZ)) == chosen


WITHHOLDS = FilmWarning("inverted", "Inverted, and what to do.", withholds=True)


def error_classes() -> list[type[errors.MedInterpError]]:
    classes = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(classes) > 20
    return classes


@pytest.mark.parametrize("kind", error_classes(), ids=lambda kind: kind.__name__)
def test_statuses_are_those_that_the_tree_of_errors_names(kind: type[errors.MedInterpError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in line]
    named = [line.rpartition("(HTTP ")[2][:3] for line in lines if "(HTTP" in line]
    told: Any = (WITHHOLDS,) if kind is errors.FilmWithheldError else "what to do"
    problem = problems.problem_of(kind(told))
    if named:
        assert problem.status == int(named[0])
    assert problem.status in {400, 404, 409, 413, 415, 422, 500, 502, 503, 504, 507}
    assert "what to do" in problem.detail
    assert problem.type.startswith("urn:medinterp:problem:")
    soon = kind in (errors.JobNotEndedError, errors.RequestRunningError)
    assert ("Retry-After" in problem.headers) == (problem.status == 503 or soon)


def test_a_withheld_report_names_each_warning_that_withholds_it() -> None:
    problem = problems.problem_of(errors.FilmWithheldError((WITHHOLDS, FilmWarning("text", "A page.", True))))
    assert [(flaw.where, flaw.what) for flaw in problem.flaws] == [
        ("image.inverted", "Inverted, and what to do."),
        ("image.text", "A page."),
    ]
    assert problem.detail.startswith("Inverted, and what to do. A page. No report was written.")
    assert "force=true" in problem.detail


def test_a_problem_has_a_stable_name() -> None:
    problem = problems.problem_of(errors.ReportNotFoundError("gone"))
    assert problem.model_dump() == {
        "type": "urn:medinterp:problem:report-not-found",
        "title": "The report is unknown, has expired or was deleted.",
        "status": 404,
        "detail": "gone",
        "flaws": (),
        "request_id": None,
    }


@given(st.text())
def test_an_event_is_one_line_of_json(delta: str) -> None:
    frame = events.event("text", TextDelta(delta=delta)).decode()
    name, data, *rest = frame.split("\n")
    assert (name, rest) == ("event: text", ["", ""])
    assert "\r" not in data
    assert json.loads(data.removeprefix("data: ")) == {"delta": delta}


def test_an_event_name_cannot_break_the_frame() -> None:
    with pytest.raises(ValueError, match="cannot name an event"):
        events.event("text\ndata: x", TextDelta(delta=""))


def test_selections() -> None:
    report = sample_explanation().report
    assert parse_selection("3-7", None) == WordSelection(3, 7)
    assert parse_selection("4", None) == WordSelection(4, 4)
    assert parse_selection(None, 2) == FindingSelection(2)
    assert selected(report, WordSelection(0, 1)) == report.words[:2]
    assert selected(report, FindingSelection(0)) is report.findings[0]


@pytest.mark.parametrize(
    ("words", "finding"), [(None, None), ("1-2", 0), ("a", None), ("-1", None), ("1-2-3", None)]
)
def test_a_selection_is_written_in_one_way(words: str | None, finding: int | None) -> None:
    with pytest.raises(SelectionError):
        parse_selection(words, finding)


@pytest.mark.parametrize("selection", [WordSelection(0, 3), WordSelection(2, 1), FindingSelection(1)])
def test_what_the_report_lacks_cannot_be_selected(selection: WordSelection | FindingSelection) -> None:
    with pytest.raises(SelectionError):
        selected(sample_explanation().report, selection)


async def counted(number: int, pause_s: float, ended: list[str]) -> AsyncGenerator[int]:
    try:
        for item in range(number):
            await asyncio.sleep(pause_s)
            yield item
    finally:
        ended.append("closed")


def test_a_quick_stream_passes_as_it_is() -> None:
    ended: list[str] = []

    async def run() -> list[int | Silence]:
        return [item async for item in paced(counted(3, 0, ended), 1, 5)]

    assert asyncio.run(run()) == [0, 1, 2]
    assert ended == ["closed"]


def test_a_silent_stream_gives_signs_of_life() -> None:
    async def run() -> list[int | Silence]:
        return [item async for item in paced(counted(1, 0.25, []), 0.1, 5)]

    items = asyncio.run(run())
    assert [isinstance(item, Silence) for item in items] == [True, True, False]


def test_a_stream_that_takes_too_long_ends_and_is_closed() -> None:
    ended: list[str] = []

    async def run() -> None:
        async for _ in paced(counted(100, 0.05, ended), 1, 0.2):
            pass

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert ended == ["closed"]


def test_who_stops_listening_closes_the_stream() -> None:
    ended: list[str] = []

    async def run() -> None:
        stream = paced(counted(100, 0.01, ended), 1, 10)
        # The first item in one task, the next in another, as an event stream is read.
        assert await asyncio.create_task(anext_of(stream)) == 0
        reading = asyncio.create_task(anext_of(stream))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await stream.aclose()

    async def anext_of(stream: AsyncGenerator[int | Silence]) -> int | Silence:
        return await anext(stream)

    asyncio.run(run())
    assert ended == ["closed"]
