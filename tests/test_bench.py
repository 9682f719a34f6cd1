"""The benchmark measures what it says; how fast this machine is, is no test."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from models import noise_film, save_small_model

from medinterp.api.store.cost import store_lines
from medinterp.cli import main
from medinterp.errors import ModelError, ServiceError
from medinterp.evaluation import speed
from medinterp.evaluation.speed import BenchLine, card, decoding, generation, service
from medinterp.evaluation.speed.language import language_lines, sentence_of
from medinterp.evaluation.speed.line import interleaved, seconds_line
from medinterp.evaluation.speed.maps import maps_lines
from medinterp.evaluation.speed.memory import memory_lines
from medinterp.evaluation.speed.pictures import overlay_lines
from medinterp.model import LoadedModel, load_model
from medinterp.model.facts import LayerShape


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"))))


def test_runs_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    seconds = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert [len(times) for times in seconds.values()] == [3, 3]
    line = seconds_line("x", [1.0, 10.0, 2.0], [2.0, 10.0, 3.0])
    assert (line.ratio, line.baseline, line.value, line.unit) == (1.5, 2.0, 3.0, "s")


def test_generation_is_timed_on_the_same_tokens(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    films = [noise_film(1), noise_film(2)]
    lines = generation.generation_lines(loaded, films, "small", tokens=5, rounds=1)
    assert [line.name.split(" / ")[0] for line in lines] == [
        "generation with rows and masses",
        "generation with rows, masses and layer_attention",
        "generation with eager with output_attentions",
    ]
    assert all(line.ratio > 0 and line.unit == "s" for line in lines)
    plain = generation.plain_tokens

    def other(*arguments: object, **options: object) -> list[list[int]]:
        return [[token + 1 for token in row] for row in plain(*arguments, **options)]  # type: ignore[arg-type]

    monkeypatch.setattr(generation, "plain_tokens", other)
    with pytest.raises(ModelError, match="other tokens"):
        generation.generation_lines(loaded, films, "small", tokens=5, rounds=1)


def test_memory_is_measured_in_processes_of_their_own(loaded: LoadedModel) -> None:
    captured, eager = memory_lines(loaded.model_id, batch=2, tokens=8)
    assert captured.baseline == eager.baseline > 0
    assert eager.value > 0
    assert captured.unit == "MiB"


def test_maps_fit_in_twice_the_trace() -> None:
    every, _, memory = maps_lines()
    assert every.name.startswith("all 6 attention methods")
    assert memory.ratio < 2
    assert json.loads(json.dumps(dataclasses.asdict(memory)))["unit"] == "MiB"


def test_overlays_are_quicker_from_a_film_that_is_kept() -> None:
    kept, contours = overlay_lines()
    assert kept.name.startswith("an overlay, film kept / decoded anew (1500 x 1200")
    assert 0 < kept.ratio < 0.9
    assert kept.value == contours.baseline < 0.2


def test_decoding_is_measured_by_a_worker_and_in_this_process() -> None:
    by_pydicom, here, to_the_model = decoding.measured(96, 80, rounds=1)
    assert "DICOM to film by a worker" in here.name
    assert by_pydicom.value == here.value > 0
    assert to_the_model.baseline == by_pydicom.baseline > 0
    assert to_the_model.unit == "s"


def test_a_model_of_medgemmas_width_is_what_it_says() -> None:
    """One layer of each kind, so that it fits a test."""
    wide = generation.medgemma_width(load_model("phantom"), layers=1, vision_layers=1)
    facts = wide.facts
    assert (facts.hidden_size, facts.heads, facts.shapes) == (2560, 8, (LayerShape(4, 256, 0),))
    assert (facts.image_size, facts.least_cells) == (896, 256)
    assert Path(wide.model_id).name.startswith("random weights")


def test_a_given_report_is_timed_beside_its_writing(loaded: LoadedModel) -> None:
    (line,) = generation.given_lines(loaded, noise_film(1), "small", tokens=5, rounds=1)
    assert line.name == "explaining a given report / writing it with capture (small, 5 tokens)"
    assert line.value > 0


def test_reading_is_timed_on_one_sentence_beside_ten() -> None:
    assert sentence_of(3, ", ") == "No opacity, effusion, pneumothorax."
    lines = language_lines(mentions=60, rounds=1)
    assert [line.unit for line in lines] == ["s"] * 3
    assert lines[0].name == "reading a sentence of 60 findings / 10 of 6 (commas between them)"


def test_a_cards_sections_stand_alone(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a small model in place of the layout: every section measures, and one that fails is named."""
    compile_: Callable[..., Any] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, **options: compile_(module, backend="eager", **options))
    monkeypatch.setattr(card, "medgemma_width", lambda *_, **__: loaded)
    failures: dict[str, str] = {}

    def lines() -> list[str]:
        told = card.card_lines("tiny", "cpu", tokens=4, failed=lambda name, error: failures.update({name: str(error)}))
        return [line.name.split(" (")[0] for line in told]

    steps = ["one step / one reading of the weights", "one step that keeps the queries / one that does not"] * 2
    report = [
        "generation with rows and masses / plain",
        "generation with rows and masses / the same writer that keeps no queries",
        "generation with layer_attention / without",
        "first tokens that plain generation writes too",
    ]
    names = lines()
    assert failures == {}
    assert names == [
        *steps,
        *report,
        "8 films side by side / 8 in turn",
        "explaining a given report / writing it with capture",
        "occlusion of every cell within 8 GiB / within 512 MiB",
        "gradient_relevancy, a token / one reading of the weights",
        "edge_gradient, a token / one reading of the weights",
        "integrated_edge_gradient, a token / one reading of the weights",
        "integrated_gradients, a token / one reading of the weights",
        *steps,
        *report,
    ]

    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(card, "occlusion", out_of_memory)
    assert lines() == [name for name in names if not name.startswith("occlusion")]
    assert failures == {"occlusion": "no room"}


def test_the_bench_command_writes_as_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(layout: str, device: str, *, failed: Callable[[str, Exception], None]) -> Iterator[BenchLine]:
        yield BenchLine(f"{layout} on {device}", 2.0, 1.0, 2.0, "s")
        assert json.loads(file.read_text())["lines"][0]["name"] == "tiny on cpu"
        failed("occlusion", RuntimeError("no room"))

    file = tmp_path / "card.json"
    monkeypatch.setattr(speed, "card_lines", measured)
    assert main(["bench", "--layout", "tiny", "--device", "cpu", "--json", str(file)]) == 1
    assert json.loads(file.read_text())["failed"] == {"occlusion": "RuntimeError: no room"}
    out, err = capsys.readouterr()
    assert "tiny on cpu" in out and "no room" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "cuda"], "--device goes with --layout"),
        (["--layout", "tiny"], "no CUDA device"),
        (["--layout", "tiny", "--store"], "--page and --store go with --model"),
        (["--page", "--store"], "leave one out"),
    ],
)
def test_what_the_bench_cannot_measure_is_said(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["bench", *arguments]) != 0
    assert told in capsys.readouterr().err


def test_the_service_is_measured_beside_its_own_work(monkeypatch: pytest.MonkeyPatch, loaded: LoadedModel) -> None:
    """With a server in the service's place that takes every film; one that refuses ends the measurement."""
    asked: list[int] = []
    drawn: list[str] = []
    status = [201]

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(len(self.rfile.read(int(self.headers["content-length"]))))
            self.answer(json.dumps({"id": "7", "report": {"words": [0, 1]}}).encode())

        def do_GET(self) -> None:
            drawn.append(self.path)
            self.answer(b"PNG")

        def answer(self, body: bytes) -> None:
            self.send_response(status[0] if self.command == "POST" else 200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(service, "running_service", lambda model: nullcontext(f"http://127.0.0.1:{server.server_port}"))
    films = [noise_film(1), noise_film(2)]
    turn, here, overlays = service.service_lines(loaded, films, "small", tokens=3, rounds=2)
    assert len(asked) == 3 * 2 * 2 + 1, "two films in turn and at once, in two rounds and one before; one to draw on"
    assert len(drawn) == 4 * 2 * 48 and len(set(drawn)) == 2, "in turn and at once, in three rounds and one before"
    assert overlays.unit == "a second" and overlays.value > 0
    assert turn.name == "speed of the service with 2 requests at once / in turn (small, 2 films, up to 3 tokens)"
    assert turn.ratio > 0 and here.value == turn.value
    status[0] = 503
    with pytest.raises(ServiceError, match="503"):
        service.service_lines(loaded, films, "small", tokens=3, rounds=1)
    monkeypatch.setattr(service, "CONFIG", Path("nowhere.yaml"))
    with pytest.raises(ServiceError, match="run the benchmark where"):
        service.service_lines(loaded, films, "small", tokens=3, rounds=1)
    server.shutdown()
    server.server_close()


def test_what_reports_cost_in_the_store() -> None:
    lines = {line.name.partition(" (")[0]: line for line in store_lines(reports=2)}
    own = lines["a thousand reports, each of a film of its own / in version 4"]
    again = lines["a thousand more reports of one film / in version 4"]
    assert again.ratio < own.ratio < 0.9 and (own.unit, again.unit) == ("MB", "MB")
    assert 300 < again.value < own.value < own.baseline < 3000
    assert lines["a film by jpeg-ls / PNG"].ratio < 0.9
    assert len(lines) == 8
