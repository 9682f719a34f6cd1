"""Reliance of every word: the numbers of faithfulness, all at once, in a pass a film."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from models import noise_film, save_small_model

from medinterp import Explainer, Explanation
from medinterp.errors import GenerationCancelled, SelectionError
from medinterp.evaluation import reliance as module
from medinterp.evaluation.faithfulness import Judge
from medinterp.evaluation.fills import swapped_films
from medinterp.evaluation.reliance import word_reliance
from medinterp.model import LoadedModel, load_model
from medinterp.model.memory import LiveBytes
from medinterp.model.replay import MEMORY_BYTES, Replay
from medinterp.model.selection import token_ids_of
from medinterp.types import Film, Reliance

SWAPS = (noise_film(8), noise_film(9))


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    return Explainer(load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2))))


@pytest.fixture(scope="module")
def explanation(explainer: Explainer) -> Explanation:
    """Of two films, with words of several tokens."""
    written = "No tube. Small nodule in the left upper zone."
    return explainer.explain(noise_film(1), prior=noise_film(2, 80, 160), report=written, methods=["raw"], force=True)


def alone(explanation: Explanation) -> Explanation:
    asked = replace(explanation.provenance, conversation=None)  # which names both films
    return replace(explanation, prior=None, prior_packs={}, provenance=asked)


@pytest.mark.parametrize("prior", [False, True])
@pytest.mark.parametrize("swaps", [SWAPS, None])
def test_it_is_what_the_judge_finds_of_each_word(
    explainer: Explainer, explanation: Explanation, prior: bool, swaps: tuple[Film, ...] | None
) -> None:
    asked = explanation if prior else alone(explanation)
    found = explainer.reliance(asked, swaps=swaps)
    words, films = asked.report.words, swapped_films() if swaps is None else swaps
    assert found.fills == ("blank", *(film.sha256 for film in films))
    assert found.swap_drops.shape == (len(films), len(words))
    assert {getattr(found, field.name).dtype for field in fields(found)[1:]} == {np.dtype(np.float32)}
    prompt, ids = asked.provenance.asked, token_ids_of(asked.report)
    for word in (words[0], words[-1]):
        with explainer.loaded.lock:
            judge = Judge(explainer.loaded, asked.films, prompt, ids, word.token_indices, swaps=swaps)
        assert found.logprob[word.index] == pytest.approx(judge.logprob, abs=1e-4)
        assert found.blank_drop[word.index] == pytest.approx(judge.drops[0], abs=1e-4)
        np.testing.assert_allclose(found.swap_drops[:, word.index], judge.drops[1:], atol=1e-4)
        assert found.reliance[word.index] == pytest.approx(judge.reliance, abs=1e-4)
    assert np.abs(found.swap_drops).max() > 0.05, "the films differ to this model"
    assert max(len(word.token_indices) for word in words) > 1


def test_it_is_what_faithfulness_says_of_a_word(explainer: Explainer, explanation: Explanation) -> None:
    word, swaps = explanation.report.words[3], SWAPS[:1]
    judged = explainer.faithfulness(explanation, word, swaps=swaps)
    found = explainer.reliance(explanation, swaps=swaps)
    own = [array[..., word.index] for array in (found.logprob, found.blank_drop, found.swap_drops[0], found.reliance)]
    expected = [judged.logprob, judged.blank_drop, *judged.swap_drops, judged.reliance]
    np.testing.assert_allclose(own, expected, atol=1e-4)


def test_only_the_first_film_gives_way(explainer: Explainer, explanation: Explanation) -> None:
    """The prior film is there in every pass: with another one the losses are others."""
    assert explanation.prior is not None
    both = explainer.reliance(explanation, swaps=SWAPS)
    same = explainer.reliance(explanation, swaps=[explanation.film, explanation.prior])
    np.testing.assert_allclose(same.swap_drops[0], 0.0, atol=1e-4)
    assert np.abs(same.swap_drops[1]).max() > 1e-2
    other = explainer.reliance(replace(explanation, prior=noise_film(5)), swaps=SWAPS)
    assert np.abs(both.swap_drops - other.swap_drops).max() > 1e-2


def test_a_film_takes_one_pass(
    explainer: Explainer, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []
    compute = Replay.states

    def counted(self: Replay, features: object) -> object:
        passes.append(len(features))  # type: ignore[arg-type]
        return compute(self, features)  # type: ignore[arg-type]

    monkeypatch.setattr(Replay, "states", counted)
    told: list[tuple[int, int]] = []
    explainer.reliance(explanation, swaps=SWAPS, progress=lambda done, of: told.append((done, of)))
    assert passes == [1] * 4
    assert told == [(done, 4) for done in (1, 2, 3, 4)]


def test_it_ends_with_its_caller(explainer: Explainer, explanation: Explanation) -> None:
    told: list[int] = []
    with pytest.raises(GenerationCancelled, match="2 of 4 passes"):
        explainer.reliance(
            explanation,
            swaps=SWAPS,
            progress=lambda done, of: told.append(done),
            cancelled=lambda: len(told) == 2,
        )
    assert not explainer.loaded.lock.mine


def test_a_word_that_no_token_wrote_has_none(explainer: Explainer, explanation: Explanation) -> None:
    report = explanation.report
    whole = explainer.reliance(explanation, swaps=SWAPS)
    words = tuple(replace(word, token_indices=()) if word.index == 1 else word for word in report.words)
    found = explainer.reliance(replace(explanation, report=replace(report, words=words)), swaps=SWAPS)
    for field in fields(found)[1:]:
        one, other = getattr(found, field.name), getattr(whole, field.name)
        assert np.isnan(one[..., 1]).all()
        np.testing.assert_array_equal(np.delete(one, 1, axis=-1), np.delete(other, 1, axis=-1))


def test_what_cannot_be_asked_is_refused(explainer: Explainer, explanation: Explanation) -> None:
    with pytest.raises(SelectionError, match="at least one other film"):
        explainer.reliance(explanation, swaps=[])
    nothing = replace(explanation, report=replace(explanation.report, words=()))
    with pytest.raises(SelectionError, match="no word"):
        explainer.reliance(nothing, swaps=SWAPS)


def test_it_holds_one_film_at_a_time(explainer: Explainer, explanation: Explanation) -> None:
    loaded: LoadedModel = explainer.loaded
    prompt, peaks = explanation.provenance.asked, []
    for count in (1, 4):
        with LiveBytes() as live:
            word_reliance(loaded, explanation.films, explanation.report, prompt, swaps=[noise_film(7)] * count)
        peaks.append(max(live.trace))
    assert peaks[1] < 1.02 * peaks[0]
    assert peaks[1] < MEMORY_BYTES


def test_an_explanation_keeps_it(explainer: Explainer, explanation: Explanation) -> None:
    found = explainer.reliance(explanation, swaps=SWAPS)
    kept = explanation.keeping(found)
    assert kept.reliance is found and explanation.reliance is None
    assert kept.text_sources == explanation.text_sources
    assert isinstance(found, Reliance)


def test_the_blank_film_is_told_and_not_counted() -> None:
    drops = np.array([[9.0, 0.0], [1.0, -3.0], [2.0, -1.0]])
    np.testing.assert_array_equal(module.largest_loss(drops), [2.0, -1.0])
