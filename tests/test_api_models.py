"""The HTTP API of a service with several models: they are listed, chosen by name, counted, and refused by name."""

from __future__ import annotations

import time

import pytest

import medinterp
from medinterp import errors
from medinterp.api import metrics
from medinterp.api.store import alias_of, unpack_record
from medinterp.errors import ModelBrokenError, ModelGoneError
from tests.api_backend import png
from tests.api_service import Service, problem, service  # noqa: F401 - fixtures
from tests.listening import listening
from tests.test_api_chat import image, text, user

# ruff: noqa: F811 - fixtures are imported, and named again where they are used


@pytest.fixture
def two(service: Service) -> Service:
    service.backend.aliases = ("sample", "other")
    return service


def chat(service: Service, model: str) -> object:
    return service.client.post("/chat/completions", json={"model": model, "messages": user(image(), text("Look."))})


def test_all_are_listed_and_none_is_loaded_for_it(two: Service) -> None:
    told = two.client.get("/models").json()
    assert [(one["alias"], one["loaded"]) for one in told["models"]] == [("sample", True), ("other", False)]
    assert [one["id"] for one in told["data"]] == ["sample", "other"]


def test_a_report_is_made_by_the_one_that_is_named_and_counted_for_it(two: Service) -> None:
    def written() -> tuple[float, float]:
        return tuple(metrics.REPORTS.value(outcome="written", model=name) for name in two.backend.aliases)  # type: ignore[return-value]

    before = written()
    made = [two.post(model="other"), two.post()]
    assert [answer.json()["provenance"]["alias"] for answer in made] == ["other", None]
    assert [task.model for task in two.backend.tasks] == ["other", None]
    assert [after - had for after, had in zip(written(), before, strict=True)] == [1, 1]
    blob = two.store.get(made[0].json()["id"]).blob
    assert alias_of(blob) == unpack_record(blob).provenance.alias == "other"
    told = problem(two.post(model="third"), 422)
    assert (told["type"], told["detail"]) == (
        "urn:medinterp:problem:unknown-model", "there is no model 'third' here; there are sample, other"
    )
    assert metrics.REPORTS.value(outcome="refused", model="unknown") >= 1
    assert metrics.REPORTS.value(outcome="refused", model="third") == 0


def test_a_key_holds_for_the_model_too(two: Service) -> None:
    key = {"Idempotency-Key": "once"}
    first = two.post(key, model="other")
    assert two.post(key, model="other").json()["id"] == first.json()["id"]
    assert len(two.backend.tasks) == 1
    assert problem(two.post(key, model="sample"), 409)["type"].endswith("key-reused")


def test_batches_and_jobs_take_it_along(two: Service) -> None:
    files = [("image", ("a.png", png(), "image/png"))]
    assert problem(two.client.post("/batches", files=files, data={"model": "third"}), 422)
    assert two.client.post("/batches", files=files, data={"model": "other"}).status_code == 202
    assert two.post({"Prefer": "respond-async"}, model="other").status_code == 202
    until = time.monotonic() + 20
    while len(two.backend.tasks) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    assert [task.model for task in two.backend.tasks] == ["other", "other"]


def test_chat_chooses_by_alias_or_id_and_says_who_is_there(two: Service) -> None:
    answer = chat(two, "other")
    assert answer.json()["model"] == "other" and answer.json()["system_fingerprint"] == "1"  # type: ignore[attr-defined]
    assert two.backend.tasks[-1].model == "other"
    told = chat(two, "third")
    assert told.status_code == 404  # type: ignore[attr-defined]
    assert told.json()["error"]["code"] == "model_not_found"  # type: ignore[attr-defined]
    assert "sample, other" in told.json()["error"]["message"]  # type: ignore[attr-defined]


def test_what_cannot_be_loaded_and_what_is_gone_have_a_status_of_their_own(two: Service) -> None:
    report_id = two.report()
    two.backend.early = ModelBrokenError("the model other cannot be loaded here")
    answer = two.post(model="other")
    assert problem(answer, 502)["type"] == "urn:medinterp:problem:model-broken"
    assert "retry-after" not in answer.headers  # nobody is to ask again each second
    two.backend.early = ModelGoneError("the report was made with another")
    asked = two.client.post(f"/reports/{report_id}/maps", json={"method": "edge_gradient"})
    assert problem(asked, 409)["type"] == "urn:medinterp:problem:model-gone"


def test_the_client_chooses_and_lists(tmp_path_factory: pytest.TempPathFactory) -> None:
    with listening(tmp_path_factory.mktemp("models")) as served, medinterp.Client(served.url, patience_s=0) as client:
        served.backend.aliases = ("sample", "other")
        assert [(one.alias, one.loaded) for one in client.models().models] == [("sample", True), ("other", False)]
        assert client.report(png(), model="other").provenance.alias == "other"
        with pytest.raises(errors.UnknownModelError, match="there is no model 'third' here"):
            client.report(png(), model="third")
        assert client.submit(png(), model="other").wait(30).provenance.alias == "other"
