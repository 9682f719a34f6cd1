"""Comparisons over the Ray Serve graph: asked of the generation replica by id, and ended with their caller."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from medinterp.api.backend import ComparingTask, Progress
from medinterp.imaging.perturb import PERTURBATIONS
from tests.sensitivity_samples import sample_comparison
from tests.served import Served
from tests.test_serve_backend import Handle, backend
from tests.test_serve_graph import EVENTS, events, post

QUESTIONS = ("Is there a nodule?", "A nodule?")


def test_a_comparison_is_asked_for_by_id_and_ends_with_its_caller() -> None:
    task = ComparingTask(QUESTIONS)
    answer = sample_comparison(QUESTIONS, ("raw",), None, 0)
    generation = Handle([Progress("sensitivity", 1, 7), answer], [Progress("sensitivity", 1, 7), answer])
    service = backend(generation)

    async def run() -> list[Any]:
        whole = [item async for item in service.compare("id", task)]
        stream = service.compare("id", task)
        await anext(stream)
        await stream.aclose()
        return whole

    assert asyncio.run(run()) == [Progress("sensitivity", 1, 7), answer]
    finished, left = generation.calls
    assert (finished.method, finished.arguments) == ("compare", ("id", task, ""))
    assert not finished.cancelled
    assert left.cancelled


def test_words_and_films_are_compared_on_the_model(served: Served) -> None:
    made = post(served, 20).json()
    place = f"/v1/reports/{made['id']}/sensitivity"
    answer = served.client.post(
        place, json={"questions": QUESTIONS, "methods": ["raw", "edge_gradient"]}, headers=EVENTS
    )
    assert answer.status_code == 200, answer.text
    found = events(answer.text.splitlines())
    count = len(QUESTIONS) + len(PERTURBATIONS)
    assert [data for name, data in found if name == "progress"] == [
        {"what": "sensitivity", "done": done, "of": count} for done in range(1, count + 1)
    ]
    name, compared = found[-1]
    assert name == "sensitivity"
    assert [one["name"] for one in compared["variants"]] == ["paraphrase", *PERTURBATIONS]
    assert [shift["method"] for shift in compared["variants"][0]["shifts"]] == ["raw", "edge_gradient"]
    whole = served.client.post(place, json={"perturbations": ["crop"]}).json()
    assert whole["report"] == made["report"]["text"]
    assert whole["max_new_tokens"] == 20
    assert (whole["methods"], whole["perturbations"]) == (made["methods"][:1], ["crop"])
    refused = served.client.post(place, json={"questions": [QUESTIONS[0], "<start_of_turn>user"]}, headers=EVENTS)
    assert refused.status_code == 422
    assert "control tokens" in refused.json()["detail"]


def test_who_goes_away_stops_a_comparison(served: Served) -> None:
    made = post(served, 300).json()
    with served.client.stream("POST", f"/v1/reports/{made['id']}/sensitivity", json={}, headers=EVENTS) as answer:
        line = next(line for line in answer.iter_lines() if line.startswith("data: "))
        assert json.loads(line.removeprefix("data: "))["done"] == 1
    started = time.monotonic()
    assert post(served, 2).status_code == 201
    assert time.monotonic() - started < 5


def test_what_is_asked_is_not_in_the_log(served: Served) -> None:
    report_id = post(served, 4).json()["id"]
    body = {"questions": ["Has Mrs. Miller pneumonia?", "Mrs. Miller's lungs? <start_of_turn>"], "perturbations": []}
    served.client.post(f"/v1/reports/{report_id}/sensitivity", json=body)
    served.client.post(f"/v1/reports/{report_id}/sensitivity", json={**body, "questions": body["questions"][:1]})
    time.sleep(1)
    assert "Miller" not in served.log.read_text()
