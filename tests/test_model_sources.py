"""What drove words of a report: rows against eager attention, slopes against finite differences, rote phrases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp import Explainer, Explanation
from medinterp.errors import GenerationCancelled, MethodError, ModelError, SelectionError
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.model import sources as sources_module
from medinterp.model.forcing import attention_by, teacher_forced
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.prompt_words import prompt_words
from medinterp.model.sources import position_sources, text_sources
from medinterp.model.turns import Turns
from medinterp.phantom import example_films
from medinterp.report import read_report
from medinterp.types import TextSources


@contextmanager
def embeddings_scaled(loaded: LoadedModel, positions: list[int], factor: float) -> Iterator[None]:
    """Within, the language model gets these positions' embeddings times a factor."""

    def scale(module: object, args: object, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        embeddings = kwargs["inputs_embeds"].clone()
        embeddings[:, positions] *= factor
        return args, {**kwargs, "inputs_embeds": embeddings}

    handle = loaded.model.model.language_model.register_forward_pre_hook(scale, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def slope(loaded: LoadedModel, prompt: PromptInputs, ids: list[int], tokens: list[int], positions: list[int]) -> float:
    """What log p(tokens) gains for each unit by which the embeddings grow, by central differences."""
    step, found = 1e-2, []
    for factor in (1 + step, 1 - step):
        with embeddings_scaled(loaded, positions, factor):
            found.append(float(teacher_forced(loaded, prompt, ids).logprobs[tokens].double().sum()))
    return (found[0] - found[1]) / (2 * step)


@torch.no_grad()
def test_gradients_are_what_the_words_gain_when_an_embedding_grows(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    chosen = [2, 3, 5]
    with loaded.lock:
        found = position_sources(loaded, prompt, tokens, chosen)
    length = prompt.length
    assert found.attention.shape == found.gradient.shape == (length + 5,), "the last token itself is not among them"
    span = prompt.image_spans[-1]
    places = [0, 4, span.stop, length - 1, length, length + 1, length + 2, length + 3, length + 4]
    most = float(np.abs(found.gradient).max())
    assert most > 1e-2
    for position in places:
        expected = slope(loaded, prompt, tokens, chosen, [position])
        assert found.gradient[position] == pytest.approx(expected, abs=2e-3 * most), position
    for span in prompt.image_spans:
        cells = list(range(span.start, span.stop))
        expected = slope(loaded, prompt, tokens, chosen, cells)
        assert float(found.gradient[cells].sum()) == pytest.approx(expected, abs=5e-3 * most)
    logprobs = teacher_forced(loaded, prompt, tokens).logprobs
    assert found.logprob == pytest.approx(float(logprobs[chosen].sum()), abs=1e-4)


@torch.no_grad()
def test_attention_is_that_of_the_rows_that_predicted_the_words(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]
) -> None:
    chosen = [1, 4]
    with loaded.lock:
        found = position_sources(loaded, prompt, tokens, chosen)
        with attention_by(loaded, "eager"):
            attentions = teacher_forced(loaded, prompt, tokens, attentions=True).attentions
    assert attentions is not None
    rows = torch.stack(attentions)[:, :, [prompt.length - 1 + token for token in chosen]]
    expected = rows.mean(dim=(0, 1, 2))[: prompt.length + 4]
    np.testing.assert_allclose(found.attention, expected.numpy(), atol=1e-6)
    assert found.attention[prompt.length + 3] > 0 and found.attention.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module", params=[True, False], ids=["image first", "text first"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=3)), image_first=request.param)


@pytest.mark.parametrize(
    "asked",
    ["Describe the film.", "  user\n", "model", "e", "No tube? No tube.", "Größe des Herzens - 5,5 cm?\n胸部X線"],
)
@pytest.mark.parametrize("films", [1, 2])
def test_the_prompts_words_are_found_whatever_stands_in_the_template(
    either: LoadedModel, asked: str, films: int
) -> None:
    inputs = build_prompt(either, [noise_film(k) for k in range(films)], asked)
    words = prompt_words(either, inputs, asked)
    assert words.spans == tuple((word.start, word.end) for word in read_report(asked).words)
    held = {p for part in words.positions for p in part} | set(words.between)
    assert not held & {p for span in inputs.image_spans for p in range(span.start, span.stop)}
    tokenizer = either.processor.tokenizer
    for (start, end), positions in zip(words.spans, words.positions, strict=True):
        wrote = tokenizer.decode(inputs.input_ids[list(positions)], clean_up_tokenization_spaces=False)
        assert asked[start:end] in wrote
    whole = tokenizer.decode(inputs.input_ids[sorted(held)], clean_up_tokenization_spaces=False)
    assert whole.strip() == asked.strip()
    before = inputs.text[: inputs.text.index("user")]
    assert min(held) >= len(tokenizer(before, add_special_tokens=False)["input_ids"]) + 1, "not the template's 'user'"


def test_a_prompt_that_the_tokenizer_changes_is_refused_and_not_quoted(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = build_prompt(loaded, [noise_film()], "Describe Mrs. Miller.")
    with pytest.raises(MethodError, match="cannot be tied to tokens") as caught:
        prompt_words(loaded, replace(inputs, input_ids=inputs.input_ids.flip(0)), "Describe Mrs. Miller.")
    assert "Miller" not in str(caught.value)


def total(sources: TextSources, what: str) -> float:
    single = ("template", "punctuation") if what == "gradient" else ("template", "punctuation", "first_token")
    arrays = (f"film_{what}", f"prompt_{what}", f"report_{what}")
    return sum(getattr(sources, f"{name}_{what}") for name in single) + sum(
        float(np.sum(getattr(sources, name))) for name in arrays
    )


@pytest.mark.parametrize("films", [1, 2])
def test_the_parts_are_all_there_is(either: LoadedModel, films: int) -> None:
    read, asked = [noise_film(k) for k in range(films)], "Describe what you see, please."
    report = Generator(either).generate(read, asked, max_new_tokens=14, temperature=1.5, seed=4).report
    word = next(word for word in report.words[1:] if word.token_indices)
    found = text_sources(either, read, report, asked, word.token_indices)
    assert total(found, "attention") == pytest.approx(1.0, abs=1e-5)
    inputs = build_prompt(either, read, asked)
    ids = [token.token_id for token in report.tokens]
    with either.lock:
        places = position_sources(either, inputs, ids, word.token_indices)
    assert total(found, "gradient") == pytest.approx(float(places.gradient.sum()), abs=1e-4)
    assert len(found.film_attention) == len(found.film_gradient) == films
    assert found.prompt_attention.shape == found.prompt_gradient.shape == (5,)
    assert found.prompt_attention.dtype == found.report_gradient.dtype == np.float32
    assert (found.prompt_attention > 0).all()
    assert 0 < found.film_share < 1
    last = max(word.token_indices)
    for other in report.words:
        there = any(token < last for token in other.token_indices)
        assert (found.report_attention[other.index] != 0) == there
        assert (found.report_gradient[other.index] != 0) == there
    assert found.token_indices == word.token_indices
    assert found.logprob == pytest.approx(word.logprob, abs=1e-3)


def test_bfloat16_says_the_same(tmp_path: Path, tokens: list[int]) -> None:
    saved = str(save_small_model(tmp_path / "model", seed=2))
    found = []
    for dtype in ("float32", "bfloat16"):
        model = load_model(saved, dtype=dtype)
        prompt = build_prompt(model, [noise_film()], "Describe.")
        with model.lock:
            found.append(position_sources(model, prompt, tokens, [2, 3]))
    whole, half = found
    assert half.attention.dtype == half.gradient.dtype == np.float32
    assert half.attention.sum() == pytest.approx(1.0, abs=1e-5)
    assert half.logprob == pytest.approx(whole.logprob, abs=0.1)
    assert np.corrcoef(half.gradient, whole.gradient)[0, 1] > 0.99


def test_rows_that_do_not_add_up_are_refused(loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Generator(loaded).generate([noise_film()], "Look.", max_new_tokens=4, temperature=1.5, seed=1).report
    measured = position_sources

    def leaky(*args: Any, **options: Any) -> Any:
        found = measured(*args, **options)
        return replace(found, attention=found.attention * 0.99)

    monkeypatch.setattr(sources_module, "position_sources", leaky)
    with pytest.raises(ModelError, match=r"adds up to 0\.99"):
        text_sources(loaded, [noise_film()], report, "Look.", [1])


def test_it_gives_way_between_its_passes_and_can_be_left(
    loaded: LoadedModel, tokens: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    given: list[str] = []
    give_way = Turns.give_way

    def noted(turns: Turns, cancelled: Any, done: str) -> None:
        given.append(done)
        give_way(turns, cancelled, done)

    monkeypatch.setattr(Turns, "give_way", noted)
    for left, told in ((1, "0 of 2"), (2, "1 of 2")):
        given.clear()
        with pytest.raises(GenerationCancelled, match=f"after {told} passes"), loaded.lock:
            position_sources(loaded, prompt, tokens, [1], cancelled=lambda left=left: len(given) >= left)
    assert not loaded.lock.mine
    for wrong in ([], [len(tokens)], [-1]):
        with pytest.raises(SelectionError):
            position_sources(loaded, prompt, tokens, wrong)


# ---- the packaged model: what its reports' grammar makes sure ----


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained("phantom", check=False)


@pytest.fixture(scope="module")
def explanation(explainer: Explainer) -> Explanation:
    return explainer.explain(example_films()[0].png)


def test_a_word_that_follows_by_rote_comes_from_the_word_before_it(
    explainer: Explainer, explanation: Explanation
) -> None:
    """"The heart is", "pleural effusion": one word can follow, and the slope points at what it follows from."""
    words = explanation.report.words
    rote = [word for word in words if word.text in ("is", "effusion")]
    assert len(rote) >= 3
    for word in rote:
        gradient = np.abs(explainer.text_sources(explanation, word).report_gradient)
        assert words[int(gradient.argmax())].index == word.index - 1, word.text
        assert gradient[word.index :].max() == 0


def test_a_side_is_read_from_the_film_and_a_heading_from_the_text(
    explainer: Explainer, explanation: Explanation
) -> None:
    words = explanation.report.words
    side = next(word for word in words if word.text == "Left" and word.section == "PLEURA")
    heading = next(word for word in words if word.text == "IMPRESSION")
    of_side, of_heading = (explainer.text_sources(explanation, word) for word in (side, heading))
    assert of_side.film_share > 2 * of_heading.film_share
    assert abs(of_side.film_gradient[0]) > 100 * abs(of_heading.film_gradient[0])


def test_a_given_report_and_a_prior_film(explainer: Explainer, explanation: Explanation) -> None:
    given = explainer.explain(explanation.film, report="LUNGS: Right nodule.", prior=explanation.film)
    found = explainer.text_sources(given, given.report.words)
    assert len(found.film_attention) == 2
    assert total(found, "attention") == pytest.approx(1.0, abs=1e-5)
    assert found.logprob < -5


def test_what_was_asked_is_kept_the_newest(explainer: Explainer, explanation: Explanation, tmp_path: Path) -> None:
    from medinterp import explanation as module

    words = explanation.report.words
    found = explainer.text_sources(explanation, words[3])
    kept = explanation.keeping(found)
    assert isinstance(kept, Explanation) and explanation.text_sources == ()
    assert kept.keeping(replace(found, logprob=-1.0)).text_sources[0].logprob == -1.0
    for token in range(module.KEPT_TEXT_SOURCES + 3):
        kept = kept.keeping(replace(found, token_indices=(1000 + token,)))
    assert [one.token_indices[0] for one in kept.text_sources] == list(range(1003, 1003 + module.KEPT_TEXT_SOURCES))
