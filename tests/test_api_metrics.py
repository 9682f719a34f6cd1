"""The service's numbers: what is counted when, what /metrics says, and that nothing of a request is in it."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from medinterp import stages
from medinterp.api import metrics
from medinterp.api.app import create_api
from medinterp.api.kept import KeptReports
from medinterp.api.metrics import Definition, collected, merged
from medinterp.api.settings import ApiUserConfig, Limits, LiveSettings
from medinterp.errors import FilmWithheldError, ServiceBusyError, ServiceInterruptedError
from medinterp.relevancy import METHODS
from medinterp.types import FilmWarning
from tests.api_backend import api_settings
from tests.api_service import Here, Service, service  # noqa: F401 - pytest finds fixtures by name

READ = tuple[str, dict[str, str], float]
STREAM = {"Accept": "text/event-stream"}


def rows(text: str) -> list[READ]:
    """Every row of the text format."""
    families = text_string_to_metric_families(text)
    return [(row.name, row.labels, row.value) for family in families for row in family.samples]


def grown(count: Callable[[], float], act: Callable[[], object]) -> float:
    before = count()
    act()
    return count() - before


def outcomes() -> dict[str, float]:
    names = ("written", "given", "refused", "failed", "left")
    return {name: metrics.REPORTS.value(outcome=name, model="sample") for name in names}


def changed(act: Callable[[], object]) -> dict[str, float]:
    before = outcomes()
    act()
    return {name: count - before[name] for name, count in outcomes().items() if count != before[name]}


@pytest.mark.parametrize("headers", [{}, STREAM], ids=["at once", "streamed"])
def test_each_report_is_counted_once_by_how_it_ended(service: Service, headers: dict[str, str]) -> None:  # noqa: F811
    words = metrics.WORDS.value
    assert changed(lambda: service.post(headers)) == {"written": 1}
    assert grown(words, lambda: service.post(headers)) == 3
    assert changed(lambda: service.post(headers, report="No nodule.")) == {"given": 1}
    assert changed(lambda: service.post(headers, image=b"no film")) == {"refused": 1}
    assert changed(lambda: service.post(headers, max_new_tokens=65)) == {"refused": 1}
    assert changed(lambda: service.post(headers, methods="crystal-ball")) == {"refused": 1}
    service.backend.early = ServiceBusyError("every place is taken")
    assert changed(lambda: service.post(headers)) == {"refused": 1}
    service.backend.early = ServiceInterruptedError("gone")
    assert changed(lambda: service.post(headers)) == {"failed": 1}
    service.backend.early = ZeroDivisionError("a defect")
    assert changed(lambda: service.post(headers)) == {"failed": 1}


def test_who_goes_away_is_counted_as_that() -> None:
    async def leave() -> None:
        with metrics.counted(metrics.REPORTS, model="sample"):
            raise asyncio.CancelledError

    def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(leave())

    assert changed(run) == {"left": 1}


def test_a_withheld_film_is_counted_by_what_is_wrong_with_it(service: Service) -> None:  # noqa: F811
    service.backend.early = FilmWithheldError((FilmWarning("inverted", "It is inverted.", True),))
    inverted = grown(lambda: metrics.WITHHELD.value(warning="inverted"), lambda: changed_by(service))
    assert inverted == 1


def changed_by(service: Service) -> None:  # noqa: F811
    assert changed(service.post) == {"refused": 1}


def test_questions_and_judgements_are_counted_by_kind(service: Service) -> None:  # noqa: F811
    place = f"/reports/{service.report()}"

    def asked(kind: str, outcome: str) -> Callable[[], float]:
        return lambda: metrics.QUESTIONS.value(kind=kind, outcome=outcome)

    judge = lambda: service.client.post(f"{place}/faithfulness", json={"words": "0"})  # noqa: E731
    assert grown(asked("faithfulness", "answered"), judge) == 1
    assert grown(lambda: metrics.JUDGEMENTS.value(verdict="region"), judge) == 1
    measure = lambda: service.client.post(f"{place}/maps", json={"method": "occlusion"}, headers=STREAM)  # noqa: E731
    assert grown(asked("maps", "answered"), measure) == 1
    service.backend.late = ServiceInterruptedError("gone")
    assert grown(asked("maps", "failed"), measure) == 1
    assert grown(asked("maps", "answered"), measure) == 0


def test_keeping_a_report_is_timed(service: Service) -> None:  # noqa: F811
    assert grown(lambda: metrics.STAGE_SECONDS.count(stage="store"), service.report) == 1
    assert grown(lambda: metrics.STAGE_SECONDS.count(stage="decode"), service.report) == 1


def test_a_stage_ends_however_it_ends() -> None:
    told: list[stages.Stage] = []
    stages._LISTENERS.append(told.append)
    try:
        with pytest.raises(ZeroDivisionError), stages.stage("maps"):
            raise ZeroDivisionError
        stages.tell("method", 0.5, "raw", ended_ns=10**9)
    finally:
        stages._LISTENERS.remove(told.append)
    assert [one.name for one in told] == ["maps", "method"]
    assert told[1] == stages.Stage("method", 500_000_000, 0.5, "raw")


def test_what_is_kept_unpacked_is_hit_or_missed(service: Service) -> None:  # noqa: F811
    report_id = service.report()
    kept = KeptReports(service.store, 2**24, every_s=60)
    try:
        for result in ("miss", "hit", "hit"):
            assert grown(lambda result=result: metrics.KEPT.value(result=result), lambda: kept.get(report_id)) == 1
        assert kept.nbytes > 0
        kept.limit(0)
        assert kept.nbytes == 0
        assert grown(lambda: metrics.KEPT.value(result="miss"), lambda: kept.get(report_id)) == 1
    finally:
        kept._ended.set()


def test_metrics_are_prometheus_text(service: Service) -> None:  # noqa: F811
    service.report()
    answer = service.client.get("/metrics")
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    found = rows(answer.text)
    named = {name for one in metrics.DEFINITIONS.values() for name in one.exposed}
    assert {name for name, _, _ in found} <= named
    values = {name: value for name, labels, value in found if labels == {"deployment": "api", "replica": "one"}}
    assert values["medinterp_store_reports"] == 1
    assert values["medinterp_store_bytes"] > 1000
    assert values["medinterp_store_max_bytes"] == 50_000
    assert 0 < values["medinterp_store_share"] < 1
    assert values["medinterp_decoding_workers"] == 0  # of this test: it decodes in its own process


def test_a_store_that_is_away_costs_its_own_rows_alone(service: Service) -> None:  # noqa: F811
    service.store.close()
    answer = service.client.get("/metrics")
    assert answer.status_code == 200
    names = {name for name, _, _ in rows(answer.text)}
    assert "medinterp_store_bytes" not in names and "medinterp_decoding_workers" in names


def test_replicas_add_up_and_are_told_apart() -> None:
    one = collected("generation", "a")
    metrics.WORDS.add(5)
    two = pickle.loads(pickle.dumps(collected("generation", "b")))
    found = rows(merged([one, two, collected("relevancy", "c")]).decode())
    words = {labels["replica"]: value for name, labels, value in found if name == "medinterp_words_total"}
    assert words["b"] - words["a"] == 5
    keys = [(name, tuple(sorted(labels.items()))) for name, labels, _ in found]
    assert len(keys) == len(set(keys))
    buckets = [row for row in found if row[0] == "medinterp_stage_seconds_bucket"]
    assert {labels["deployment"] for _, labels, _ in buckets} == {"generation", "relevancy"}


def test_labels_are_a_few_words_of_ours_and_nothing_of_a_request(service: Service) -> None:  # noqa: F811
    """Planted names, asked for by everything that a client can send, and the id of the report."""
    service.post(prompt="Is Mrs. Planted ill?", report="Planted wrote this.")
    service.post(methods="planted")
    report_id = service.report()
    service.client.post(f"/reports/{report_id}/faithfulness", json={"words": "planted"})
    service.client.get(f"/reports/{report_id}/planted")
    text = service.client.get("/metrics").text
    assert "lanted" not in text and report_id not in text and report_id[:8] not in text
    words = {"replica": {"one"}, "deployment": {"api"}, "method": set(METHODS), "le": None, "warning": None}
    words["model"] = {"sample", "other", "unknown"}  # other: of tests/test_api_models.py
    for _, labels, _ in rows(text):
        for name, value in labels.items():
            allowed = words.get(name)
            assert allowed is None or value in allowed
            assert len(value) < 40 and set(labels) <= {*words, "outcome", "kind", "verdict", "result", "stage", "queue"}


def test_a_sink_is_told_everything_but_gauges() -> None:
    told: list[tuple[str, float, dict[str, str]]] = []

    class Listening:
        def take(self, definition: Definition, value: float, labels: dict[str, str]) -> None:
            told.append((definition.name, value, labels))

    listening = Listening()
    metrics.add_sink(listening)  # type: ignore[arg-type]
    try:
        metrics.WORDS.add(0)
        metrics.WORDS.add(3)
        metrics.JUDGEMENTS.add(verdict="text")
        stages.tell("maps", 0.25)
        stages.tell("method", 0.125, "raw")
    finally:
        metrics._SINKS.remove(listening)  # type: ignore[arg-type]
    assert told == [
        ("medinterp_words", 3, {}),
        ("medinterp_judgements", 1, {"verdict": "text"}),
        ("medinterp_stage_seconds", 0.25, {"stage": "maps"}),
        ("medinterp_method_seconds", 0.125, {"method": "raw"}),
    ]


# ---- settings that change while the service runs ----


def test_limits_and_methods_change_from_one_request_to_the_next(tmp_path: Path) -> None:
    ours = Service(tmp_path)
    settings = api_settings(tmp_path)
    live = LiveSettings(settings)
    app = create_api(ours.backend, settings, ours.store, pool := Here(settings.limits.film()), live)
    ours.client = type(ours.client)(app, raise_server_exceptions=False)
    with ours.client:
        assert ours.post().json()["methods"] == ["raw"]
        assert ours.post(max_new_tokens=65).status_code == 422
        limits = Limits(max_upload_bytes=1000, max_new_tokens=2000, default_max_new_tokens=7, max_prompt_characters=5)
        live.change(ApiUserConfig(methods=("attention_flow",), limits=limits))
        assert ours.post().status_code == 413  # the film is larger than 1,000 bytes
        assert ours.post(image=b"x" * 2_200_000).status_code == 413
        roomy = limits.model_copy(update={"max_upload_bytes": 10**6})
        live.change(ApiUserConfig(methods=("attention_flow",), limits=roomy))
        assert ours.post(max_new_tokens=2000).status_code == 201
        assert ours.post(prompt="long one").status_code == 422
        ours.post()
        task = ours.backend.tasks[-1]
        assert (task.methods, task.max_new_tokens) == (("attention_flow",), 7)
        assert ours.client.get("/models").json()["limits"]["max_new_tokens"] == 2000
        assert ours.client.get("/methods").json()["methods"][0]["name"] == "attention_flow"
        assert pool._limits == live.limits.film()
        ours.backend.delay_s = 0.3
        live.change(ApiUserConfig(limits=Limits(timeout_s=0.05)))
        assert ours.post().status_code == 504


def test_an_unknown_default_method_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no method roar"):
        ApiUserConfig(methods=("roar",))
