"""A report that somebody else wrote: one pass gives the evidence that writing it gives."""

from __future__ import annotations

import numpy as np
import pytest
from models import noise_film, save_small_model

from medinterp.errors import PromptError, ReportTextError, RequestTooLargeError
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.types import Generation

FILM = noise_film(1)


@pytest.fixture(scope="module", params=[512, 280, 24])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Sliding windows longer than the sequence, a little shorter, and much shorter than the picture."""
    path = save_small_model(tmp_path_factory.mktemp("model"), sliding_window=request.param)
    return load_model(str(path), calibration=None)


def compare(written: Generation, given: Generation) -> None:
    """Every array of the two traces, and the reports."""
    ours, theirs = given.trace, written.trace
    np.testing.assert_allclose(ours.image_attention, theirs.image_attention, atol=1e-3)
    np.testing.assert_allclose(ours.attention_mass, theirs.attention_mass, atol=1e-5)
    np.testing.assert_allclose(ours.token_logprob, theirs.token_logprob, atol=1e-4)
    np.testing.assert_allclose(ours.image_state, theirs.image_state, atol=1e-4)
    assert ours.value_norm is not None
    assert theirs.value_norm is not None
    np.testing.assert_allclose(ours.value_norm, theirs.value_norm, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(ours.unembedding, theirs.unembedding)
    if theirs.layer_attention is None:
        assert ours.layer_attention is None
    else:
        assert ours.layer_attention is not None
        np.testing.assert_allclose(ours.layer_attention, theirs.layer_attention, atol=1e-3)
    assert [token.token_id for token in given.report.tokens] == [token.token_id for token in written.report.tokens]
    assert given.report.text == written.report.text
    assert [word.token_indices for word in given.report.words] == [w.token_indices for w in written.report.words]
    np.testing.assert_allclose(
        [word.image_mass for word in given.report.words], [w.image_mass for w in written.report.words], atol=1e-5
    )
    for mine, its in zip(given.report.tokens, written.report.tokens, strict=True):
        assert [a.text for a in mine.alternatives] == [a.text for a in its.alternatives]
        np.testing.assert_allclose(
            [a.logprob for a in mine.alternatives], [a.logprob for a in its.alternatives], atol=1e-4
        )


@pytest.mark.parametrize("layer_attention", [True, False])
def test_one_pass_is_equal_to_writing(loaded: LoadedModel, layer_attention: bool) -> None:
    generator = Generator(loaded)
    written = generator.generate(
        [FILM], "Look.", max_new_tokens=12, temperature=1.5, seed=3, layer_attention=layer_attention
    )
    ids = [token.token_id for token in written.report.tokens]
    compare(written, generator.force([FILM], ids, "Look.", layer_attention=layer_attention))


def test_with_a_prior_film(loaded: LoadedModel) -> None:
    generator, films = Generator(loaded), [FILM, noise_film(2, 80, 160)]
    written = generator.generate(films, "Compare.", max_new_tokens=6, temperature=1.5, seed=4)
    ids = [token.token_id for token in written.report.tokens]
    compare(written, generator.force(films, ids, "Compare."))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return Generator(load_model(str(save_small_model(tmp_path_factory.mktemp("one"))), calibration=None))


def test_any_text_is_explained(generator: Generator) -> None:
    text = "LUNGS: Épanchement, 2 µm.\n胸部X線 δοκιμή \N{GRINNING FACE}"
    given = generator.force([FILM], text)
    assert given.report.text == text
    assert given.report.complete
    assert given.trace.provenance.given
    assert given.trace.provenance.max_new_tokens == len(given.report.tokens)
    assert not generator.generate([FILM], max_new_tokens=1).trace.provenance.given


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("Clear.<end_of_turn>", "control tokens: <end_of_turn>"),
        ("A <image_soft_token> here", "control tokens: <image_soft_token>"),
    ],
)
def test_what_cannot_be_explained(generator: Generator, text: str, words: str) -> None:
    with pytest.raises(ReportTextError, match=words):
        generator.force([FILM], text)


def test_a_text_that_the_tokenizer_changes_names_the_place(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = generator.loaded.processor.tokenizer
    real = type(tokenizer).__call__
    monkeypatch.setattr(type(tokenizer), "__call__", lambda self, text, **k: real(self, text.replace("X", "x"), **k))
    with pytest.raises(ReportTextError, match="from character 4 on"):
        generator.force([FILM], "The X-ray")


def test_what_does_not_fit_is_refused(generator: Generator) -> None:
    with pytest.raises(RequestTooLargeError, match="the model holds"):
        generator.force([FILM], "no " * 5000)
    with pytest.raises(PromptError):
        generator.force([FILM], "Clear.", " ")
