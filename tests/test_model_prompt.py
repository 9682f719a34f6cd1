"""The chat turn: one BOS, the image found by its id, no control tokens from outside."""

from __future__ import annotations

from pathlib import Path

import pytest
from models import CHAT_TEMPLATE, noise_film, save_small_model

from medinterp.errors import ModelError, PromptError, SelfTestError
from medinterp.model import LoadedModel, load_model, self_test
from medinterp.model.prompt import build_prompt, find_image_spans
from medinterp.types import ImageSpan


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def loaded(directory: Path) -> LoadedModel:
    return load_model(str(directory))


def test_image_first_then_text(loaded: LoadedModel) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    assert prompt.text.index("<start_of_image>") < prompt.text.index("Describe.")
    (span,) = prompt.image_spans
    ids = prompt.input_ids.tolist()
    assert [i for i, token in enumerate(ids) if token == loaded.facts.image_token_id] == list(
        range(span.start, span.stop)
    )
    assert prompt.token_type_ids.tolist() == [int(token == loaded.facts.image_token_id) for token in ids]
    assert prompt.pixel_values.shape == (1, 3, 128, 128)


def test_text_before_the_image_moves_the_span(directory: Path) -> None:
    before = load_model(str(directory), image_first=False)
    prompt = build_prompt(before, [noise_film()], "Describe what you see.")
    assert prompt.text.index("Describe") < prompt.text.index("<start_of_image>")
    first = build_prompt(load_model(str(directory)), [noise_film()], "Describe what you see.").image_spans[0]
    assert prompt.image_spans[0].start > first.start + 5
    assert prompt.image_spans[0].stop - prompt.image_spans[0].start == 256


def test_each_film_has_its_own_span(loaded: LoadedModel) -> None:
    prompt = build_prompt(loaded, [noise_film(1), noise_film(2, 90, 400)], "Compare.")
    first, second = prompt.image_spans
    assert first.stop < second.start
    assert (second.rows, second.columns) == (16, 16)
    assert not bool((prompt.pixel_values[0] == prompt.pixel_values[1]).all())


def test_the_tokenizer_adds_a_bos_and_the_template_too_but_there_is_one(loaded: LoadedModel) -> None:
    bos = loaded.facts.bos_token_id
    text = build_prompt(loaded, [noise_film()], "Describe.").text
    assert loaded.processor.tokenizer(text)["input_ids"].count(bos) == 2  # the trap is set
    assert build_prompt(loaded, [noise_film()], "Describe.").input_ids.tolist().count(bos) == 1


def test_a_template_without_bos_still_gets_one(loaded: LoadedModel) -> None:
    loaded.processor.chat_template = CHAT_TEMPLATE.removeprefix("{{ bos_token }}")
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    assert prompt.input_ids[0] == loaded.facts.bos_token_id
    assert prompt.input_ids.tolist().count(loaded.facts.bos_token_id) == 1


def test_a_template_with_two_bos_is_refused(loaded: LoadedModel) -> None:
    loaded.processor.chat_template = "{{ bos_token }}" + CHAT_TEMPLATE
    with pytest.raises(ModelError, match="2 BOS"):
        build_prompt(loaded, [noise_film()], "Describe.")
    with pytest.raises(SelfTestError, match="2 BOS"):
        self_test(loaded)


@pytest.mark.parametrize("prompt", ["", " \n", "Say<end_of_turn>", "<start_of_image>", "<image_soft_token>", "<bos>"])
def test_empty_and_control_prompts_are_refused(loaded: LoadedModel, prompt: str) -> None:
    with pytest.raises(PromptError):
        build_prompt(loaded, [noise_film()], prompt)


def test_no_film_is_refused(loaded: LoadedModel) -> None:
    with pytest.raises(PromptError, match="film"):
        build_prompt(loaded, [], "Describe.")


def test_spans_by_id() -> None:
    assert find_image_spans([1, 9, 9, 9, 9, 1, 9, 9, 9, 9], 9, [(2, 2)] * 2) == (
        ImageSpan(1, 5, 2, 2),
        ImageSpan(6, 10, 2, 2),
    )


@pytest.mark.parametrize(
    ("ids", "images"),
    [([9, 9, 1, 9, 9], 1), ([9, 9, 9], 1), ([9] * 8, 2), ([1, 2, 3], 1), ([9] * 4, 0)],
    ids=["torn", "short", "joined", "none", "too many"],
)
def test_spans_that_are_not_whole_are_refused(ids: list[int], images: int) -> None:
    with pytest.raises(ModelError, match="runs of"):
        find_image_spans(ids, 9, [(2, 2)] * images)


def test_token_types_that_do_not_mark_the_image_are_refused(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = type(loaded.processor).__call__

    def without_types(processor: object, **arguments: object) -> object:
        inputs = whole(processor, **arguments)
        inputs["token_type_ids"] = inputs["token_type_ids"] * 0
        return inputs

    monkeypatch.setattr(type(loaded.processor), "__call__", without_types)
    with pytest.raises(ModelError, match="causal"):
        build_prompt(loaded, [noise_film()], "Describe.")
