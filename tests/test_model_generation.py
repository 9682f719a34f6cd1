"""The generator: one call, a report with its trace; cancelled, limited and repeatable."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.errors import GenerationCancelled, PromptError, RequestTooLargeError
from medinterp.model import Generator, load_model
from medinterp.model.footprint import trace_bytes
from medinterp.model.prompt import DEFAULT_PROMPT, ask, build_prompt
from medinterp.model.writer import DecodeOptions, decode
from medinterp.types import Generation

FILM = noise_film(1)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Generator(load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2))))


def write(generator: Generator, seed: int = 4, **options: object) -> Generation:
    """A sampled report of 20 tokens: a random model's greedy one would repeat itself."""
    asked = {"prompt": "Describe.", "max_new_tokens": 20, "temperature": 1.0, "seed": seed} | options
    return generator.generate([FILM], **asked)  # type: ignore[arg-type]


def test_the_report_and_its_trace_speak_of_the_same_tokens(generator: Generator) -> None:
    generation = write(generator)
    report, trace = generation.report, generation.trace
    count = len(report.tokens)
    assert 0 < count <= 20
    assert trace.report_length == count
    assert trace.image_attention.shape == (count, 4, 4, 256)
    assert trace.layer_attention is not None
    assert trace.layer_attention.shape == (4, trace.sequence_length, trace.sequence_length)
    assert trace.value_norm is not None
    assert trace.value_norm.shape == (4, 4, trace.sequence_length)
    assert trace.image_state.shape == (256, 64)
    np.testing.assert_allclose([token.logprob for token in report.tokens], trace.token_logprob)
    np.testing.assert_allclose(trace.attention_mass.sum(-1), 1.0, atol=1e-3)
    weight = generator.loaded.model.get_output_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(trace.unembedding, weight[[token.token_id for token in report.tokens]])
    for token in report.tokens:
        assert len(token.alternatives) == 5
        scores = [other.logprob for other in token.alternatives]
        assert scores == sorted(scores, reverse=True)
    for word in report.words:
        expected = trace.attention_mass[list(word.token_indices), ..., 0].mean()
        assert word.image_mass == pytest.approx(float(expected), abs=1e-5)


def test_the_words_come_as_they_are_written(generator: Generator) -> None:
    pieces: list[str] = []
    generation = write(generator, on_word=pieces.append)
    assert "".join(pieces) == generation.report.text
    assert len(pieces) > 5
    assert all(pieces)


def test_the_same_seed_writes_the_same_report(generator: Generator) -> None:
    first, again, other = write(generator, 4), write(generator, 4), write(generator, 5)
    assert first.report == again.report
    np.testing.assert_array_equal(first.trace.image_attention, again.trace.image_attention)
    assert first.report.text != other.report.text
    drawn = write(generator, seed=None).trace.provenance.seed  # type: ignore[arg-type]
    assert drawn is not None
    assert write(generator, drawn).trace.provenance.seed == drawn


def test_greedy_needs_no_seed_and_takes_the_likeliest(generator: Generator) -> None:
    generation = write(generator, seed=None, temperature=0.0)  # type: ignore[arg-type]
    assert generation.trace.provenance.seed is None
    for token in generation.report.tokens:
        assert token.logprob >= token.alternatives[0].logprob


def test_the_limit_cuts_the_report_off(generator: Generator) -> None:
    generation = write(generator, max_new_tokens=3)
    assert len(generation.report.tokens) == 3
    assert not generation.report.complete


def test_cancelled_between_tokens(generator: Generator) -> None:
    pieces: list[str] = []
    with pytest.raises(GenerationCancelled, match="after"):
        write(generator, on_word=pieces.append, cancelled=lambda: len(pieces) >= 3)
    assert len(pieces) == 3
    assert write(generator).report.text.startswith("".join(pieces))  # and the model is free again


def test_a_callback_that_fails_leaves_the_model_free(generator: Generator) -> None:
    def fail(_: str) -> None:
        raise RuntimeError("the reader went away")

    with pytest.raises(RuntimeError, match="went away"):
        write(generator, on_word=fail)
    assert write(generator).report == write(generator).report


def test_what_cannot_be_asked_for(generator: Generator) -> None:
    with pytest.raises(PromptError, match="at least one film"):
        generator.generate([], "Describe.")
    with pytest.raises(PromptError, match="control tokens"):
        write(generator, prompt="Describe.<end_of_turn>")
    with pytest.raises(RequestTooLargeError, match="the model holds 2048"):
        write(generator, max_new_tokens=2000)
    with pytest.raises(RequestTooLargeError, match="at least 1"):
        write(generator, max_new_tokens=0)
    with pytest.raises(ValueError, match="temperature"):
        write(generator, temperature=-1.0)


def test_a_trace_that_does_not_fit_is_refused_with_the_number(generator: Generator) -> None:
    small = Generator(generator.loaded, max_trace_bytes=3 * 2**20)
    with pytest.raises(RequestTooLargeError, match=r"takes \d+ MiB; the limit is 3 MiB.*layer_attention"):
        write(small, max_new_tokens=600)
    assert write(small, max_new_tokens=5, layer_attention=False).report.tokens


def test_a_long_report_takes_what_the_formula_says(generator: Generator) -> None:
    loaded = generator.loaded
    prompt = build_prompt(loaded, [FILM], "Describe.")
    tokens = loaded.facts.context_length - prompt.length - 1
    assert tokens > 1700
    with loaded.lock, torch.no_grad():
        (decoded,) = decode(loaded, [prompt], DecodeOptions(tokens, min_new_tokens=tokens))
    rows = decoded.rows
    assert rows.layer_attention is not None
    arrays = (rows.image_attention, rows.attention_mass, rows.layer_attention, rows.value_norm)
    assert sum(array.nbytes for array in arrays) == trace_bytes(
        loaded.facts, cells=256, prompt_length=prompt.length, report_length=tokens, layer_attention=True
    )


def test_provenance_is_enough_to_write_it_again(generator: Generator) -> None:
    told = write(generator, prompt=None, max_new_tokens=2).trace.provenance
    assert told.asked == ask(generator.loaded) and told.prompt.endswith(DEFAULT_PROMPT)
    assert told.film_sha256 == (FILM.sha256,)
    assert (told.seed, told.max_new_tokens) == (4, 2)
    assert told.model_id == generator.loaded.model_id
    assert told.model_revision.startswith("fingerprint:")
    assert (told.dtype, told.device) == ("float32", "cpu")
    assert told.layer_types[2] == "full_attention"
    assert told.sliding_window == 512
    assert set(told.library_versions) == {"numpy", "tokenizers", "torch", "transformers"}
    assert len(told.prompt_sha256) == len(hashlib.sha256().hexdigest())
    assert told.prompt_sha256 != write(generator, max_new_tokens=2).trace.provenance.prompt_sha256


def test_a_models_own_default_prompt_and_notice(tmp_path: Path) -> None:
    path = save_small_model(tmp_path)
    (path / "medinterp.json").write_text('{"default_prompt": "Look.", "notice": "A demo."}', encoding="utf-8")
    told = Generator(load_model(str(path))).generate([FILM], max_new_tokens=1).trace.provenance
    assert (told.asked, told.notice) == ("Look.", "A demo."), "no instruction that its maker did not give"
    (path / "medinterp.json").write_text('{"default_prompt": "Look.", "system": "Be brief."}', encoding="utf-8")
    loaded = load_model(str(path))
    assert ask(loaded).system == "Be brief."  # type: ignore[union-attr]
    assert ask(load_model(str(path), system="", prompt="See.")) == "See."


def test_layer_attention_on_request_only(generator: Generator) -> None:
    assert write(generator, layer_attention=False).trace.layer_attention is None


def test_a_prior_film_comes_after_the_current_one(generator: Generator) -> None:
    films = [noise_film(1), noise_film(2, 80, 160)]
    generation = generator.generate(films, "Compare.", max_new_tokens=3, temperature=1.0, seed=1)
    assert generation.trace.image_attention.shape[-1] == 512
    first, second = generation.trace.image_spans
    assert first.stop <= second.start
    assert generation.trace.provenance.film_sha256 == tuple(film.sha256 for film in films)


def test_many_threads_one_report_each(generator: Generator) -> None:
    alone = [write(generator, seed).report for seed in range(3)]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: write(generator, seed).report, range(3)))
    assert together == alone
