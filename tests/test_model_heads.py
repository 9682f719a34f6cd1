"""Each head's look at the film, against the trace that writing left and against eager attention."""

from __future__ import annotations

import numpy as np
import pytest
from models import noise_film, save_small_model

from medinterp import Explainer, Explanation
from medinterp.errors import GenerationCancelled, SelectionError
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.model.heads import head_maps
from medinterp.model.memory import LiveBytes
from medinterp.phantom import example_films
from medinterp.relevancy import compute_maps
from medinterp.types import Generation, float32_of

FILMS = [noise_film(1), noise_film(2, 80, 160)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Layers that slide over fewer positions than two films take."""
    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2, sliding_window=300)))


@pytest.fixture(scope="module")
def written(model: LoadedModel) -> Generation:
    return Generator(model).generate(FILMS, "Compare.", max_new_tokens=12, temperature=1.5, seed=4)


@pytest.mark.parametrize("image", [0, 1])
@pytest.mark.parametrize("tokens", [(5,), (0, 3, 9)])
def test_rows_are_those_of_writing(
    model: LoadedModel, written: Generation, image: int, tokens: tuple[int, ...]
) -> None:
    found = head_maps(model, FILMS, written.report, "Compare.", tokens, image=image)
    rows = float32_of(written.trace.image_attention[list(tokens)])[..., image * 256 : image * 256 + 256].mean(0)
    assert found.maps.shape == (4, 4, 16, 16) and found.maps.dtype == np.float32
    np.testing.assert_allclose(found.maps.reshape(4, 4, 256), rows, atol=1e-5, rtol=2e-3)
    np.testing.assert_allclose(found.mass, found.maps.sum(axis=(2, 3)), rtol=1e-5)
    assert found.mass.dtype == np.float32
    assert (found.token_indices, found.image) == (tokens, image)
    assert found.layer_types == ("sliding_attention", "sliding_attention", "full_attention", "sliding_attention")
    assert found.sliding_window == 300
    assert found.mass[2].min() > 0
    if image == 0:
        assert found.mass[0].max() < found.mass[2].max(), "most of the first film is out of the window"


def test_both_films_are_the_mass_that_writing_saw(model: LoadedModel, written: Generation) -> None:
    whole = sum(head_maps(model, FILMS, written.report, "Compare.", [4], image=k).mass for k in (0, 1))
    np.testing.assert_allclose(whole, written.trace.attention_mass[4, :, :, 0], atol=1e-4)


def test_the_mean_over_all_is_the_map_with_uniform_weights(model: LoadedModel, written: Generation) -> None:
    assert written.trace.layer_weights is None
    pack = compute_maps(written.trace, ["layer_weighted"])["layer_weighted"]
    found = head_maps(model, FILMS, written.report, "Compare.", [2, 3])
    np.testing.assert_allclose(
        found.maps.mean(axis=(0, 1)), pack.values[[2, 3]].mean(axis=0), atol=1e-6, rtol=2e-3
    )


def test_only_the_selections_rows_are_held(model: LoadedModel, written: Generation) -> None:
    with LiveBytes() as live:
        head_maps(model, FILMS, written.report, "Compare.", [4])
    one = max(live.trace)
    with LiveBytes() as live:
        head_maps(model, FILMS, written.report, "Compare.", range(5))
    assert max(live.trace) < 1.1 * one


def test_what_the_report_has_not_is_refused(model: LoadedModel, written: Generation) -> None:
    for image in (2, -1):
        with pytest.raises(SelectionError, match="read of 2 film"):
            head_maps(model, FILMS, written.report, "Compare.", [1], image=image)
    with pytest.raises(SelectionError, match="nothing of it is selected"):
        head_maps(model, FILMS, written.report, "Compare.", [99])
    with pytest.raises(GenerationCancelled):
        head_maps(model, FILMS, written.report, "Compare.", [1], cancelled=lambda: True)


def test_by_the_facade() -> None:
    explainer = Explainer.from_pretrained("phantom", check=False)
    explanation: Explanation = explainer.explain(example_films()[0].png)
    word = explanation.report.words[18]
    found = explainer.heads(explanation, word)
    assert found.token_indices == word.token_indices
    assert float(found.mass.mean()) == pytest.approx(word.image_mass, abs=1e-4)
