"""A report that somebody else wrote, over HTTP: explained as it stands, or refused before anything is spent on it."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import msgpack
import pytest
from pydantic import ValidationError

from medinterp.api.schema import ExplanationModel
from medinterp.api.settings import Limits
from medinterp.api.upload import MAX_FIELD_BYTES
from medinterp.errors import ReportTextError, RequestTooLargeError
from tests.api_backend import png
from tests.api_films import raster
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.test_api_http import EVENTS, sent_events

GIVEN = "PLEURA: Größe, a zebra.\nHEART: Normal.\n"
REFUSED = "urn:medinterp:problem:report-text"


def test_a_given_report_is_explained_as_it_stands(service: Service) -> None:
    answer = service.post(report=GIVEN, prompt="Look.")
    assert answer.status_code == 201, answer.text
    model = ExplanationModel.model_validate_json(answer.content)
    assert model.report.text == GIVEN
    assert model.provenance.given
    unlikely = [word["text"] for word in answer.json()["report"]["words"] if word["unlikely"] is True]
    assert unlikely == ["zebra"]
    (task,) = service.backend.tasks
    assert (task.report, task.prompt, task.max_new_tokens) == (GIVEN, "Look.", 64)
    place = f"/reports/{model.id}"
    assert service.client.get(place).json() == answer.json()
    packed = service.client.get(place, headers={"Accept": "application/msgpack"}).content
    assert msgpack.unpackb(packed)["report"]["words"][2]["unlikely"] is False
    page = service.client.get(f"{place}/export", params={"format": "html"}).text
    assert '"given":true' in page and "A given report, explained by" in page
    assert service.client.get(f"{place}/words/0/overlay.png").status_code == 200
    judged = service.client.post(f"{place}/faithfulness", json={"words": "0-1"})
    assert judged.json()["token_indices"] == [0, 2]


def test_without_a_report_one_is_written(service: Service) -> None:
    answer = service.post().json()
    assert answer["provenance"]["given"] is False
    assert {word["unlikely"] for word in answer["report"]["words"]} == {False}
    assert service.backend.tasks[0].report is None


def test_it_is_streamed_in_one_piece(service: Service) -> None:
    events = sent_events(service.post(EVENTS, report=GIVEN))
    assert [name for name, _ in events] == ["text", "report"]
    assert events[0][1] == {"delta": GIVEN}
    assert events[1][1]["report"]["text"] == GIVEN


@pytest.mark.parametrize("sent", ["One.\r\nTwo.", "One.\rTwo.", "\ufeffOne.\nTwo."])
def test_line_ends_and_a_bom_are_the_forms_and_not_the_reports(service: Service, sent: str) -> None:
    assert service.post(report=sent).json()["report"]["text"] == "One.\nTwo."


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"report": ""}, "is empty"),
        ({"report": " \r\n"}, "is empty"),
        ({"report": "x" * 20_001}, "20001 characters; 20000"),
        ({"report": "Gr\ufffd\ufffde normal."}, "UTF-8"),
        ({"report": b"Gr\xf6\xdfe normal."}, "UTF-8"),
        ({"report": GIVEN, "max_new_tokens": "5"}, "leave out max_new_tokens"),
    ],
)
def test_what_cannot_be_explained_costs_no_decoding(service: Service, form: dict[str, Any], told: str) -> None:
    document = problem(service.post(**form, image=b"no film"), 422)
    assert document["type"] == REFUSED
    assert told in document["detail"]
    assert "normal" not in json.dumps(document) and "xxx" not in json.dumps(document)
    assert service.backend.tasks == []


def test_a_report_is_text_and_not_a_file(service: Service) -> None:
    files = {"image": ("film.png", png(), "image/png"), "report": ("report.txt", b"No effusion.", "text/plain")}
    document = problem(service.client.post("/reports", files=files), 422)
    assert document["flaws"][0]["where"] == "body.report"
    assert "effusion" not in json.dumps(document)


@pytest.mark.parametrize("headers", [None, EVENTS])
def test_what_the_model_refuses_has_its_own_problem(service: Service, headers: dict[str, str] | None) -> None:
    service.backend.early = ReportTextError("the given report holds the model's control tokens: <eos>")
    document = problem(service.post(headers, report="No.<eos>"), 422)
    assert document["type"] == REFUSED
    assert document["title"] == "The report that was given to be explained cannot be used."
    service.backend.early = RequestTooLargeError("the given report has 65 tokens; 64 are explained at most")
    assert "65 tokens; 64" in problem(service.post(headers, report="No."), 422)["detail"]


def test_the_longest_report_has_room_beside_the_largest_film(tmp_path: Path) -> None:
    film = raster("PNG", 60, 70)
    service = Service(tmp_path, max_upload_bytes=len(film), max_report_characters=100_000, store_bytes=10_000_000)
    with service.client:
        assert service.post(image=film, report="\N{MATHEMATICAL BOLD CAPITAL A}" * 100_000).status_code == 201
    assert Limits(max_report_characters=MAX_FIELD_BYTES // 4)
    with pytest.raises(ValidationError):
        Limits(max_report_characters=MAX_FIELD_BYTES // 4 + 1)


def test_the_limit_is_told(service: Service) -> None:
    assert service.client.get("/models").json()["limits"]["max_report_characters"] == 20_000


def test_the_log_does_not_hold_it(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="medinterp"):
        service.post(report="Mrs. Miller has a zebra.")
        service.post(report="Mrs. Miller", max_new_tokens=3)
    assert "tokens" in caplog.text
    assert "Miller" not in caplog.text and "zebra" not in caplog.text
