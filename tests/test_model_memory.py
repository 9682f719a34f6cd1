"""What questions to the model take stays within their budget, and how much a piece of one may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.errors import GenerationCancelled, ModelError
from medinterp.evaluation.faithfulness import judge_map
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.model import pieces as pieces_module
from medinterp.model.gradients import edge_gradient, gradient_relevancy
from medinterp.model.integrated import input_x_gradient, integrated_edge_gradient, integrated_gradients
from medinterp.model.memory import LiveBytes, free_bytes, storage_bytes
from medinterp.model.occlusion import occlusion
from medinterp.model.pieces import Pieces, shape_of_batches
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.turns import Turns
from medinterp.types import Generation

MIB = 2**20
PROMPT = "Look at the film."


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2)))


@pytest.fixture(scope="module")
def prompt(loaded: LoadedModel) -> PromptInputs:
    return build_prompt(loaded, [noise_film(1)], PROMPT)


@pytest.fixture(scope="module")
def written(loaded: LoadedModel) -> Generation:
    return Generator(loaded).generate([noise_film(1)], PROMPT, max_new_tokens=9, temperature=1.5, seed=4)


def ids(written: Generation) -> list[int]:
    return [token.token_id for token in written.report.tokens]


# ---- the meter ----


def test_the_meter_counts_what_is_alive() -> None:
    with LiveBytes() as live:
        a = torch.ones(1000)
        b = a.view(10, 100)[2:]
        assert live.live == 4000, "a view is nothing new"
        c = a + 1
        del a
        assert live.live == 8000, "the view keeps its storage"
        del b, c
        assert live.live == 0
    assert max(live.trace) == 8000


def test_the_meter_sees_the_backward_pass() -> None:
    weight = torch.ones(500, 500, requires_grad=True)
    with LiveBytes() as live:
        loss = (weight * 2).exp().sum()
        forward = len(live.trace)
        assert live.live == 1_000_004, "the backward pass will want exp's result"
        (found,) = torch.autograd.grad(loss, weight)
    assert max(live.trace[forward:]) >= 2_000_000, "that, and a gradient"
    del loss
    assert live.live == storage_bytes([found]) == 1_000_000


# ---- within the budget ----

QUESTIONS: dict[str, Callable[..., Any]] = {
    "occlusion": occlusion,
    "coarse to fine": lambda *a, **k: occlusion(*a, **k, coarse_to_fine=True),
    "edge_gradient": edge_gradient,
    "gradient_relevancy": lambda *a, **k: gradient_relevancy(*a, **k, tokens=[1, 4, 7, 8]),
    "integrated_gradients": lambda *a, **k: integrated_gradients(*a, **k, tokens=[2, 8]),
    "input_x_gradient": input_x_gradient,
    "integrated_edge_gradient": lambda *a, **k: integrated_edge_gradient(*a, **k, steps=3),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_taken_stays_within_the_budget(
    loaded: LoadedModel, prompt: PromptInputs, written: Generation, question: str
) -> None:
    """Beside it is what the result itself and the pixels take; a smaller budget makes more, smaller pieces."""
    ask, answers, counts, largest = QUESTIONS[question], [], [], []
    with loaded.lock:
        with LiveBytes() as live:
            answers.append(ask(loaded, prompt, ids(written), memory_bytes=1))  # one unit at a time, whatever it takes
        least = max(live.trace)
        for budget in (int(1.3 * least) + MIB, 3 * least + MIB):
            told: list[int] = []
            with LiveBytes() as live:
                answers.append(ask(loaded, prompt, ids(written), memory_bytes=budget, progress=told.append))
            assert max(live.trace) <= budget, f"{max(live.trace) / budget:.2f} of the budget"
            counts.append(len(told))
            largest.append(max(live.trace))
    assert counts[0] >= counts[1]
    assert largest[1] >= largest[0]
    for answer in answers[1:]:
        one, other = (getattr(each, "edges", each) for each in (answers[0], answer))
        np.testing.assert_allclose(one, other, atol=2e-4, rtol=2e-3)


def test_a_larger_budget_is_used(loaded: LoadedModel, prompt: PromptInputs, written: Generation) -> None:
    with loaded.lock:
        for budget in (48 * MIB, 96 * MIB):
            with LiveBytes() as live:
                occlusion(loaded, prompt, ids(written), memory_bytes=budget)
            assert 0.5 * budget < max(live.trace) <= budget


def test_a_judge_stays_within_the_budget(loaded: LoadedModel, written: Generation) -> None:
    film, report = noise_film(1), written.report
    values = np.random.default_rng(0).random((16, 16)).astype(np.float32)
    with LiveBytes() as live:
        least = judge_map(loaded, [film], report, PROMPT, [3], "raw", values, memory_bytes=1)
    smallest = max(live.trace)
    budget = 2 * smallest
    with LiveBytes() as live:
        other = judge_map(loaded, [film], report, PROMPT, [3], "raw", values, memory_bytes=budget)
    assert smallest < max(live.trace) <= budget
    assert other.reliance == pytest.approx(least.reliance, abs=1e-3)


# ---- pieces ----


class Clock:
    """Time passes only where a unit works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(pieces_module.time, "perf_counter", lambda: self.now)


@pytest.mark.parametrize(
    ("unit_s", "piece_s", "size"),
    [(0.05, 0.2, 4), (0.03, 0.2, 4), (0.3, 0.2, 1), (0.001, 0.2, 16), (0.11, 0.2, 1), (0.1, 0.2, 2)],
)
def test_a_piece_takes_no_longer_than_it_may(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, unit_s: float, piece_s: float, size: int
) -> None:
    """A power of two, as many as fit in the memory (16 and a half here)."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(loaded.lock, "piece_s", piece_s)
    ran: list[int] = []

    def run(count: int) -> None:
        ran.append(count)
        torch.ones(count * MIB // 4)
        clock.now += count * unit_s

    pieces = Pieces(loaded, int(16.5 * MIB / pieces_module._COUNTED) + 1, "cells", 100)
    assert pieces.side_by_side(run, 100, 0) == size
    assert max(ran) * unit_s <= max(piece_s, 2 * unit_s)


def test_without_a_limit_in_time_memory_alone_decides(loaded: LoadedModel) -> None:
    assert loaded.lock.piece_s is None
    pieces = Pieces(loaded, int(16.5 * MIB / pieces_module._COUNTED) + 1, "cells", 100)
    assert pieces.side_by_side(lambda count: torch.ones(count * MIB // 4), 100, 0) == 16
    assert pieces.side_by_side(lambda count: torch.ones(count * MIB // 4), 100, 8 * MIB) == 8
    assert pieces.side_by_side(lambda count: torch.ones(count * MIB // 4), 5, 0) == 5
    assert pieces.side_by_side(lambda count: torch.ones(count * 64 * MIB), 5, 0) == 1


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_gives_way_between_its_pieces_and_can_be_left(
    loaded: LoadedModel,
    prompt: PromptInputs,
    written: Generation,
    question: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[str] = []
    give_way = Turns.give_way

    def noted(turns: Turns, cancelled: Any, done: str) -> None:
        given.append(done)
        give_way(turns, cancelled, done)

    monkeypatch.setattr(Turns, "give_way", noted)
    told: list[int] = []
    budget = 24 * MIB if question == "occlusion" else 1
    with loaded.lock:
        QUESTIONS[question](loaded, prompt, ids(written), memory_bytes=budget, progress=told.append)
    assert len(given) >= len(told) > 1
    left = len(given) // 2
    given.clear()
    with pytest.raises(GenerationCancelled, match=r"cancelled after \d+ of \d+ "), loaded.lock:
        QUESTIONS[question](loaded, prompt, ids(written), memory_bytes=budget, cancelled=lambda: len(given) > left)
    assert len(given) == left + 1 and not loaded.lock.mine


def test_batches_are_alike() -> None:
    assert shape_of_batches(257, 100) == (3, 86)
    assert shape_of_batches(4, 10) == (1, 4)
    assert shape_of_batches(0, 10) == (0, 1)


# ---- what is free ----


def host(root: Path, available: int, **files: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available} kB\n")
    for name, text in files.items():
        place = root / name.replace("__", "/").replace("_DOT_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


def test_what_the_host_has_free(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    assert free_bytes(cpu, host(tmp_path / "plain", 1000)) == 1024_000
    limited = host(
        tmp_path / "limited",
        1000,
        proc__self__cgroup="0::/pod/inner\n",
        sys__fs__cgroup__pod__memory_DOT_max="500000\n",
        sys__fs__cgroup__pod__memory_DOT_current="300000\n",
        sys__fs__cgroup__pod__memory_DOT_stat="anon 1\ninactive_file 50000\n",
        sys__fs__cgroup__pod__inner__memory_DOT_max="max\n",
        sys__fs__cgroup__pod__inner__memory_DOT_current="10\n",
    )
    assert free_bytes(cpu, limited) == 250_000
    old = host(
        tmp_path / "old",
        1000,
        proc__self__cgroup="4:memory:/pod\n3:cpu,cpuacct:/pod\n",
        sys__fs__cgroup__memory__pod__memory_DOT_limit_in_bytes="400000\n",
        sys__fs__cgroup__memory__pod__memory_DOT_usage_in_bytes="100000\n",
        sys__fs__cgroup__memory__pod__memory_DOT_stat="total_inactive_file 0\n",
    )
    assert free_bytes(cpu, old) == 300_000
    with pytest.raises(ModelError, match="how much memory is free"):
        free_bytes(cpu, tmp_path / "nothing")
    assert 0 < free_bytes(cpu) < 2**45


def test_views_of_one_storage_are_counted_once() -> None:
    one = torch.ones(100)
    assert storage_bytes([one, one[3:], torch.ones(5)]) == 420
