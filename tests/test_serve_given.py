"""A report that somebody else wrote, over the Ray Serve graph with a small random model."""

from __future__ import annotations

import time
from typing import Any

import httpx

from medinterp.api.schema import ExplanationModel, MapsModel
from tests.served import Served
from tests.test_serve_graph import EVENTS, events, film, post

TEXT = "LUNGS: Épanchement, 2 µm, no zebra.\nHEART: The heart is enlarged.\n"


def give(served: Served, text: str, form: dict[str, Any] | None = None, **options: Any) -> httpx.Response:
    data = {"report": text, **(form or {})}
    return served.client.post("/v1/reports", files=film(), data=data, **options)


def test_a_given_report_is_explained_and_asked_about_as_a_written_one(served: Served) -> None:
    answer = give(served, TEXT)
    assert answer.status_code == 201, answer.text
    model = ExplanationModel.model_validate_json(answer.content)
    tokens = model.report.tokens
    assert (model.report.text, model.provenance.given, model.report.complete) == (TEXT, True, True)
    assert len(tokens) == model.provenance.max_new_tokens
    assert all(token.logprob < 0 and token.alternatives for token in tokens)
    assert any(word.unlikely for word in model.report.words), "a random model has not written this"
    place = f"/v1/reports/{model.id}"
    assert served.client.get(place).json() == answer.json()
    first = MapsModel.model_validate_json(served.client.get(f"{place}/maps").content)
    assert first.tokens.shape == (len(tokens), 16, 16)
    measured = served.client.post(f"{place}/maps", json={"method": "edge_gradient"})
    assert measured.status_code == 200, measured.text
    assert served.client.get(place).json()["methods"][-1] == "edge_gradient"
    judged = served.client.post(f"{place}/faithfulness", json={"words": "0-1", "method": "edge_gradient"})
    assert judged.json()["verdict"] in ("region", "picture", "text")
    assert served.client.get(f"{place}/words/0/overlay.png").headers["content-type"] == "image/png"
    page = served.client.get(f"{place}/export", params={"format": "html"}).text
    assert '"given":true' in page
    asked = served.client.post(f"{place}/sensitivity", json={"questions": ["A nodule?"], "perturbations": ["crop"]})
    assert asked.status_code == 200, asked.text
    whole = served.client.post(f"{place}/sensitivity", json={}, headers=EVENTS)
    assert whole.status_code == 422
    assert "without `report`" in whole.json()["detail"]


def test_it_is_streamed_whole_then_progress_then_the_report(served: Served) -> None:
    answer = give(served, TEXT, {"methods": "edge_gradient"}, headers=EVENTS)
    assert answer.status_code == 200, answer.text
    found = events(answer.text.splitlines())
    assert found[0] == ("text", {"delta": TEXT})
    assert {name for name, _ in found[1:-1]} == {"progress"}
    name, last = found[-1]
    assert (name, last["report"]["text"]) == ("report", TEXT)


def test_what_cannot_be_explained_has_a_status_and_is_not_in_the_log(served: Served) -> None:
    long = "Mrs. Miller has no nodule. " * 200
    cases = [
        (TEXT, {"max_new_tokens": 5}, "report-text", "leave out max_new_tokens"),
        ("Mrs. Miller<end_of_turn>", {}, "report-text", "control tokens: <end_of_turn>"),
        (long, {}, "request-too-large", "tokens; 1024 are explained at most"),
        (long * 10, {}, "report-text", f"{len(long * 10)} characters; 20000"),
    ]
    for text, form, problem, told in cases:
        for headers in ({}, EVENTS):
            answer = give(served, text, form, headers=headers)
            assert answer.status_code == 422, answer.text
            assert answer.json()["type"] == f"urn:medinterp:problem:{problem}"
            assert told in answer.json()["detail"]
    assert give(served, "Mrs. Miller has no nodule.").status_code == 201
    time.sleep(1)
    assert "Miller" not in served.log.read_text()


def test_who_goes_away_stops_what_comes_after_the_pass(served: Served) -> None:
    data = {"report": TEXT * 8, "methods": "gradient_relevancy"}
    with served.client.stream("POST", "/v1/reports", files=film(), data=data, headers=EVENTS) as answer:
        next(answer.iter_lines())
    started = time.monotonic()
    assert post(served, 2).status_code == 201
    assert time.monotonic() - started < 5
