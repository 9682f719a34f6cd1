"""A prior film over the Ray Serve graph: read, kept, drawn and asked about; and overlays from a film that is kept."""

from __future__ import annotations

import json

import cv2
import numpy as np

from tests.api_backend import png
from tests.served import Served
from tests.test_serve_graph import EVENTS

FILM, PRIOR = png(300, 260, seed=3), png(280, 240, seed=5)


def test_a_report_of_two_films_from_end_to_end(served: Served) -> None:
    files = {"image": ("a.png", FILM), "prior": ("b.png", PRIOR)}
    form = {"max_new_tokens": 6, "force": "true", "methods": ["raw", "attention_flow"]}
    made = served.client.post("/v1/reports", files=files, data=form)
    assert made.status_code == 201, made.text
    assert (made.json()["prior"]["width"], made.json()["prior"]["height"]) == (240, 280)
    assert len(made.json()["provenance"]["film_sha256"]) == 2
    place = f"/v1/reports/{made.json()['id']}"
    shapes = []
    for image in (0, 1):
        for path in ("film.png", "film.png?view=model", "words/0/overlay.png?contours=true"):
            answer = served.client.get(f"{place}/{path}{'&' if '?' in path else '?'}image={image}")
            assert answer.status_code == 200, answer.text
            shapes.append(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR).shape[:2])
    assert shapes[0] == shapes[2] == (300, 260)
    assert shapes[3] == shapes[5] == (280, 240)
    packed = [served.client.get(f"{place}/maps/packed", params={"image": image}).json() for image in (0, 1)]
    assert packed[0]["tokens"]["data"] != packed[1]["tokens"]["data"]

    measured = served.client.post(f"{place}/maps", json={"method": "edge_gradient", "image": 1})
    assert measured.status_code == 200, measured.text
    assert measured.json()["image"] == 1
    drawn = [
        served.client.get(f"{place}/words/0/overlay.png", params={"method": "edge_gradient", "image": image})
        for image in (0, 1)
    ]
    assert [answer.status_code for answer in drawn] == [200, 200], "what rendering keeps is read again when it changes"
    judged = served.client.post(f"{place}/faithfulness", json={"words": "0-0", "image": 1})
    assert judged.json()["image"] == 1, judged.text
    refused = served.client.post(f"{place}/sensitivity", json={"questions": ["Is there a nodule?"]})
    assert refused.status_code == 422
    assert "two films" in refused.json()["detail"]

    region = served.client.post(f"{place}/region", json={"box": [0.25, 0.25, 0.75, 0.75], "image": 1})
    assert region.status_code == 200, region.text
    assert len(region.json()["words"]) == len(made.json()["report"]["words"])

    assert served.client.delete(place).status_code == 204
    for image in (0, 1):
        assert served.client.get(f"{place}/words/0/overlay.png?image={image}").status_code == 404
        assert served.client.get(f"{place}/film.png?image={image}").status_code == 404


def test_it_is_streamed_and_its_faults_are_told(served: Served) -> None:
    files = {"image": ("a.png", FILM), "prior": ("b.png", PRIOR)}
    form = {"max_new_tokens": 4, "force": "true"}
    streamed = served.client.post("/v1/reports", files=files, data=form, headers=EVENTS)
    last = [frame for frame in streamed.text.split("\n\n") if frame.startswith("event: report")]
    assert json.loads(last[0].partition("data: ")[2])["prior"]["width"] == 240
    broken = served.client.post("/v1/reports", files={**files, "prior": ("b.png", PRIOR[:500])})
    assert broken.status_code == 400
    assert broken.json()["detail"].startswith("prior: ")
