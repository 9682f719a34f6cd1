"""Several models over the Ray Serve graph: chosen in a request, loaded for the first, asked of their own reports."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from medinterp.api.schema import MapsModel
from medinterp.imaging import read_film
from medinterp.model import Generator, load_model
from medinterp.model.prompt import ask
from medinterp.relevancy import compute_maps
from tests.api_backend import png
from tests.served import Served

FILM = png(300, 260, seed=3)


def post(served: Served, **form: Any) -> Any:
    data = {"max_new_tokens": 12, "methods": "raw", "force": "true", "prompt": "Look.", **form}
    return served.client.post("/v1/reports", files={"image": ("a.png", FILM)}, data=data)


def test_two_models_write_and_answer_side_by_side(served: Served) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda form: post(served, **form), [{}, {"model": "other"}, {}, {"model": "other"}]))
    assert [answer.status_code for answer in answers] == [201] * 4, [answer.text for answer in answers]
    own, other, *again = [answer.json() for answer in answers]
    assert [one["report"]["text"] for one in again] == [own["report"]["text"], other["report"]["text"]]
    assert own["report"]["text"] != other["report"]["text"]
    assert other["provenance"]["alias"] == "other"

    generator = Generator(load_model(served.other))
    film = read_film(FILM)
    alone = generator.generate([film], ask(generator.loaded, "Look."), max_new_tokens=12)
    assert alone.report.text == other["report"]["text"]
    place = f"/v1/reports/{other['id']}/maps"
    maps = MapsModel.model_validate_json(served.client.get(place).content)
    np.testing.assert_allclose(maps.tokens, compute_maps(alone.trace, ["raw"])["raw"].values, atol=2e-3)
    asked = served.client.post(place, json={"method": "edge_gradient"})
    assert asked.status_code == 200, asked.text
    asked_alone = alone.trace.provenance.asked
    cells = generator.measure([film], alone.report, asked_alone, ["edge_gradient"])["edge_gradient"].values
    measured = MapsModel.model_validate_json(asked.content).tokens
    np.testing.assert_allclose(measured.reshape(cells.shape), cells, rtol=1e-2, atol=1e-4)
    listed = served.client.get("/v1/models").json()["models"]
    assert [(one["alias"], one["loaded"]) for one in listed[1:]] == [("other", True), ("broken", False)]


def test_one_that_cannot_be_loaded_leaves_the_service_ready(served: Served) -> None:
    for _ in range(2):
        answer = post(served, model="broken")
        assert (answer.status_code, answer.json()["type"]) == (502, "urn:medinterp:problem:model-broken"), answer.text
    assert served.client.get("/v1/readyz").status_code == 200
    assert post(served).status_code == 201
    assert post(served, model="third").status_code == 422


@pytest.mark.parametrize("query", ["", "?view=model"])
def test_its_film_is_seen_as_it_saw_it(served: Served, query: str) -> None:
    made = post(served, model="other").json()
    assert served.client.get(f"/v1/reports/{made['id']}/film.png{query}").status_code == 200
