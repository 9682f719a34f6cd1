"""A copy of the model in an audit: rows of what it says, and every failure a row of its own."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from medinterp.audit.looking import Looked, packed
from medinterp.audit.pipeline import DIED, ModelActor, Tally
from medinterp.audit.reader import OUT_OF_MEMORY, Asked, Reader, resample
from medinterp.audit.rows import Rows, failed, packed_rows, unpacked_rows
from medinterp.cli import main
from medinterp.errors import UnreadableFilmError
from medinterp.explainer import Explainer
from tests.audit_samples import looked


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(Asked("phantom", ("raw", "layer_weighted"), reliance=True, max_new_tokens=24), batch=4)


def chest(film_id: str, report: str | None = None) -> Looked:
    from medinterp.phantom.films import draw_film, sample_film
    from medinterp.types import Film

    film = Film(draw_film(sample_film(31), 128, 128).uint8(), "image/png", film_id)
    one = looked(film_id, report)
    return Looked(one.row, film, one.body)


def test_the_rows_are_what_the_facade_says(reader: Reader) -> None:
    given = "LUNGS: Small nodule in the left upper zone."
    rows = unpacked_rows(packed_rows(reader.read([chest("written"), chest("given", given)])))
    assert rows.failure is None and rows.film is not None and rows.words is not None
    films = {row["film_id"]: row for row in rows.film.to_pylist()}
    explainer = Explainer(reader.loaded)
    for film_id, report in (("written", None), ("given", given)):
        film = chest(film_id).film
        said = explainer.explain(film, report=report, methods=("raw", "layer_weighted"), max_new_tokens=24)
        row = films[film_id]
        assert row["report"] == said.report.text and row["given"] is (report is not None)
        words = [one for one in rows.words.to_pylist() if one["film_id"] == film_id]
        assert [one["text"] for one in words] == [word.text for word in said.report.words]
        reliance = explainer.reliance(said).reliance
        for one, word in zip(words, said.report.words, strict=True):
            assert one["logprob"] == pytest.approx(word.logprob, abs=1e-3)
            for method in ("raw", "layer_weighted"):
                map_ = said.map(word, method).values
                assert np.allclose(one[f"map_{method}"], map_.ravel(), atol=1e-4)
            assert one["reliance"] == pytest.approx(float(reliance[word.index]), abs=1e-2)
    named = {one["text"]: one for one in rows.words.to_pylist() if one["film_id"] == "given"}
    assert named["nodule"]["finding"] == "nodule" and named["nodule"]["status"] == "present"
    assert named["nodule"]["zones"] == ["upper"] and named["the"]["finding"] == "none"


def told(rows: Rows) -> tuple[str, str, str]:
    assert rows.failure is not None and rows.film is None and rows.words is None
    (row,) = rows.failure.to_pylist()
    return row["stage"], row["error"], row["reason"]


def test_a_failure_is_a_row_and_costs_no_other_film(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Looked(looked("broken").row, None, reason="The file is not an image.", error="UnreadableFilmError")

    def fails(film: Any, report: str | None) -> Any:
        if film.sha256 == "a":
            raise ValueError("something with Doe^John in it")
        raise UnreadableFilmError("It tells nothing.")

    monkeypatch.setattr(reader, "_written", fails)
    first, second, third = reader.read([broken, chest("a"), chest("b")])
    assert told(first) == ("read", "UnreadableFilmError", "The file is not an image.")
    assert told(second) == ("model", "ValueError", "The model failed on this film.")
    assert told(third) == ("model", "UnreadableFilmError", "It tells nothing.")


class Small:
    """A generator that has memory for `room` reports at once, and none for the film "huge"."""

    def __init__(self, inner: Any, room: int, slots: int, made: list[int]) -> None:
        made.append(slots)
        self._inner, self._room, self._now, self._lock = inner, room, 0, threading.Lock()
        self._all_in = threading.Barrier(slots)

    def generate(self, films: Any, *arguments: Any, **options: Any) -> Any:
        with self._lock:
            self._now += 1
        try:
            self._all_in.wait(0.5)
        except threading.BrokenBarrierError:
            self._all_in.reset()
        try:
            if self._now > self._room or films[0].sha256 == "huge":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return self._inner.generate(films, *arguments, **options)
        finally:
            with self._lock:
                self._now -= 1


def test_a_batch_that_does_not_fit_is_halved_down_to_a_film(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    inner = reader._generator
    monkeypatch.setattr(reader, "_make", lambda slots: Small(inner, 1, slots, made))
    monkeypatch.setattr(reader, "_generator", Small(inner, 1, 4, made))
    monkeypatch.setattr(reader, "_slots", 4)
    rows = reader.read([chest("a"), chest("b"), chest("huge"), chest("c")])
    assert [row.film is not None for row in rows] == [True, True, False, True]
    assert told(rows[2]) == ("model", "OutOfMemoryError", OUT_OF_MEMORY)
    assert made[0] == 4 and made[-1] == 1 and made == sorted(made, reverse=True)


def test_another_grid_is_brought_to_the_audits_by_area() -> None:
    maps = np.random.default_rng(0).random((3, 12, 20)).astype(np.float32)
    brought = resample(maps, (16, 16))
    assert brought.shape == (3, 16, 16)
    assert np.allclose(brought.sum(axis=(1, 2)), maps.sum(axis=(1, 2)), rtol=1e-5)
    halved = resample(maps, (6, 10))
    assert math.isclose(float(halved[0, 0, 0]), float(maps[0, :2, :2].sum()), rel_tol=1e-5)


def test_a_dry_run_says_what_all_would_cost(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(4):
        film = chest(str(k)).film
        assert film is not None and cv2.imwrite(str(tmp_path / f"{k}.png"), film.pixels)
    (tmp_path / "table.csv").write_text("path,report\n0.png,Clear lungs.\n1.png,\n2.png,\n3.png,\n")
    monkeypatch.setattr("medinterp.audit.estimate.Reader", lambda asked, batch: reader)
    assert main(["audit", str(tmp_path / "table.csv"), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert told["films"].startswith("4 (csv), 1 with a report")
    assert told["asked"] == "phantom, maps by layer_weighted, raw"
    assert told["measured"].startswith("3 films, ") and {"time", "disk", "memory"} <= set(told)
    assert not (tmp_path / "out").exists()


class Counted:
    """The tally without Ray: `remote` is the call."""

    def __init__(self) -> None:
        tally = Tally()
        for name in ("begin", "survived", "end"):
            setattr(self, name, SimpleNamespace(remote=getattr(tally, name)))


def test_a_film_that_takes_the_models_process_with_it_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medinterp.audit.pipeline.ray.get", lambda answer: answer)
    actor = ModelActor.__new__(ModelActor)
    actor._tally = Counted()

    class Process(Exception):
        pass

    class Mortal:
        def read(self, films: list[Looked]) -> list[Rows]:
            if any(film.row["film_id"] == "deadly" for film in films):
                raise Process
            return [failed(film.row, "read", "This one was read.", "None") for film in films]

    actor._reader = Mortal()  # type: ignore[assignment]
    block = packed([looked("a"), looked("deadly"), looked("b")])
    for _ in range(3):  # together, and twice alone
        with pytest.raises(Process):
            actor(block)
    reasons = {row["film_id"]: row["reason"] for row in unpacked_rows(actor(block)).failure.to_pylist()}
    assert reasons == {"a": "This one was read.", "deadly": DIED, "b": "This one was read."}
