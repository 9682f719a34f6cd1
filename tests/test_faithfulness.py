"""Deletion, insertion and reliance, against forwards made one by one; and the verdict's rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.errors import GenerationCancelled, SelectionError
from medinterp.evaluation.adapter import CellMaskModule
from medinterp.evaluation.faithfulness import RELIANCE_NATS, Judge, judge_map, verdict_of
from medinterp.evaluation.fills import blank_film, swapped_films
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.model.entering import encode_images
from medinterp.model.forcing import teacher_forced
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import build_prompt
from medinterp.model.replay import Replay
from medinterp.types import Interval

CELLS = 256
PROMPT = "Describe."


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def tokens(loaded: LoadedModel) -> list[int]:
    ids: list[int] = loaded.processor.tokenizer("No tube. Small nodule.", add_special_tokens=False)["input_ids"]
    return ids


@pytest.fixture(scope="module")
def judge(loaded: LoadedModel, tokens: list[int]) -> Judge:
    swaps = [noise_film(8), noise_film(9)]
    return Judge(loaded, [noise_film()], PROMPT, tokens, [2, 3], swaps=swaps, memory_bytes=2**26)


def test_reliance_is_what_other_films_cost(loaded: LoadedModel, tokens: list[int], judge: Judge) -> None:
    def logprob(film: object) -> float:
        with torch.no_grad():
            found = teacher_forced(loaded, build_prompt(loaded, [film], PROMPT), tokens)  # type: ignore[list-item]
        return float(found.logprobs[[2, 3]].sum())

    own = logprob(noise_film())
    assert judge.logprob == pytest.approx(own, abs=1e-4)
    others = [blank_film(noise_film()), noise_film(8), noise_film(9)]
    np.testing.assert_allclose(judge.drops, [own - logprob(film) for film in others], atol=1e-4)
    assert judge.reliance == judge.drops[1:].max()


def test_curves_are_those_of_forwards_with_the_cells_of_the_other_film(
    loaded: LoadedModel, tokens: list[int], judge: Judge
) -> None:
    values = np.random.default_rng(3).normal(size=(16, 16)).astype(np.float32)
    curves = judge.curves(values)
    order = np.argsort(-values.ravel())
    inputs = build_prompt(loaded, [noise_film()], PROMPT)
    with torch.no_grad():
        replay = Replay(loaded, inputs, tokens)
        fill = encode_images(loaded, [build_prompt(loaded, [noise_film(8)], PROMPT)])
        for place, share in enumerate(judge.fractions):
            count = round(share * CELLS)
            for cells, curve in ((order[:count], curves.deletion), (order[count:], curves.insertion)):
                features = replay.features.clone()
                features[torch.from_numpy(cells.copy())] = fill[torch.from_numpy(cells.copy())]
                expected = float(replay.logprobs(features[None])[0, [2, 3]].sum().exp())
                assert curve[1, place] == pytest.approx(expected, rel=1e-3)


def test_the_reverse_order_has_the_opposite_gain(judge: Judge) -> None:
    values = np.random.default_rng(4).normal(size=(16, 16)).astype(np.float32)
    gains = [judge.curves(sign * values).areas(judge.fractions)[2] for sign in (1, -1)]
    # The areas are taken at other shares of the cells from the other end, so that they are alike and not equal.
    assert (gains[0] * gains[1] < 0).all()
    assert (np.abs(np.log(gains[0] / -gains[1])) < 1).all()


def test_occlusion_makes_the_best_order_and_its_reverse_the_worst(loaded: LoadedModel, tokens: list[int]) -> None:
    """On a model whose cells add up nearly, what occlusion ranks first costs most, whatever replaces it."""
    film, swaps = noise_film(), [noise_film(8)]
    drops = occlusion(loaded, build_prompt(loaded, [film], PROMPT), tokens)[[2, 3]].sum(axis=0).reshape(16, 16)
    judge = Judge(loaded, [film], PROMPT, tokens, [2, 3], swaps=swaps)
    gain = judge.curves(drops).areas(judge.fractions)[2].mean()
    randoms = [judge.curves(None).areas(judge.fractions)[2].mean() for _ in range(5)]
    assert gain > max(randoms)


def test_a_blank_film_alone_is_no_reason(loaded: LoadedModel, tokens: list[int]) -> None:
    """A swapped film that is the film itself costs nothing, whatever the blank one does."""
    judge = Judge(loaded, [noise_film()], PROMPT, tokens, [2, 3], swaps=[noise_film()])
    assert abs(judge.drops[0]) > 1e-3
    assert judge.reliance == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(SelectionError, match="at least one"):
        Judge(loaded, [noise_film()], PROMPT, tokens, [2, 3], swaps=[])


def test_the_rule() -> None:
    better, even = Interval(0.3, 0.1, 0.5), Interval(0.1, -0.1, 0.3)
    assert verdict_of(RELIANCE_NATS - 0.01, better, better) == "text"
    assert verdict_of(RELIANCE_NATS, better, better) == "region"
    assert verdict_of(RELIANCE_NATS, better, even) == "picture"
    assert verdict_of(RELIANCE_NATS, even, better) == "picture"


def test_a_whole_judgement_tells_its_progress_and_can_be_stopped(loaded: LoadedModel) -> None:
    generation = Generator(loaded).generate([noise_film()], PROMPT, max_new_tokens=6)
    values = np.random.default_rng(5).random((16, 16)).astype(np.float32)
    arguments = (loaded, [noise_film()], generation.report, PROMPT, [1], "raw", values)
    told: list[tuple[int, int]] = []
    found = judge_map(*arguments, swaps=[noise_film(8)], progress=lambda done, of: told.append((done, of)))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert found.method == "raw"
    assert found.token_indices == (1,)
    assert len(found.swap_drops) == 1
    for scores in (found.scores, found.random, found.centre):
        assert scores.srg.value == pytest.approx(scores.insertion.value - scores.deletion.value)
        assert len(scores.deletion_curve) == len(found.fractions)
    asked = iter([False] * 6 + [True] * 100)
    with pytest.raises(GenerationCancelled):
        judge_map(*arguments, swaps=[noise_film(8)], cancelled=lambda: next(asked))


@pytest.mark.parametrize("selection", [[], [99], [-1]])
def test_a_selection_that_is_not_there_is_refused(
    loaded: LoadedModel, tokens: list[int], selection: list[int]
) -> None:
    with pytest.raises(SelectionError):
        Judge(loaded, [noise_film()], PROMPT, tokens, selection)


def test_the_swapped_films_are_the_same_every_time_and_differ() -> None:
    films = swapped_films()
    assert len({film.sha256 for film in films}) == len(films) == 4
    differences = [np.abs(a.pixels.astype(int) - b.pixels).mean() for a in films for b in films if a is not b]
    assert min(differences) > 2


def test_the_adapter_ablates_as_occlusion_does(loaded: LoadedModel, tokens: list[int]) -> None:
    """One cell's mask at 0 is one cell hidden; and a gradient by the mask exists, of the right first order."""
    inputs = build_prompt(loaded, [noise_film()], PROMPT)
    drops = occlusion(loaded, inputs, tokens)
    with torch.no_grad():
        replay = Replay(loaded, inputs, tokens)
    module = CellMaskModule(replay)
    with torch.no_grad():
        whole = module(torch.ones(1, CELLS))
        for cell in (0, 99, 255):
            masks = torch.ones(1, CELLS)
            masks[0, cell] = 0
            np.testing.assert_allclose((whole - module(masks))[0].numpy(), drops[:, cell], atol=1e-4)
    masks = torch.ones(1, CELLS, requires_grad=True)
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(module(masks)[0, 2], masks)
    with torch.no_grad():
        step = torch.ones(1, CELLS)
        step[0, 99] -= 1e-2
        moved = float((whole - module(step))[0, 2]) / 1e-2
    assert float(slope[0, 99]) == pytest.approx(moved, rel=0.1, abs=1e-4)
