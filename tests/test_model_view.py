"""The film as the model gets it."""

from __future__ import annotations

import numpy as np
import pytest

from medinterp.imaging import read_film, rgb8
from medinterp.model import LoadedModel, load_model
from medinterp.model.prompt import build_prompt
from medinterp.model.view import model_view
from medinterp.types import Film
from tests.api_films import dicom, raster
from tests.models import noise_film


def in_a_prompt(loaded: LoadedModel, film: Film) -> np.ndarray:
    """The pixels of a prompt, their normalisation (mean 0.5, deviation 0.5) taken back by hand."""
    values = build_prompt(loaded, [film], "Describe.").pixel_values[0].numpy()
    return (values.transpose(1, 2, 0).astype(np.float64) * 0.5 + 0.5) * 255


@pytest.mark.parametrize("data", [raster("PNG", 300, 260), raster("PNG", 70, 80), dicom(500, 620)], ids=len)
def test_it_is_what_stands_in_the_prompt(loaded: LoadedModel, data: bytes) -> None:
    film = read_film(data)
    view, expected = model_view(loaded, film), in_a_prompt(loaded, film)
    assert view.shape == (128, 128)
    assert view.dtype == np.uint8
    assert view.flags["C_CONTIGUOUS"]
    assert np.abs(expected - view[:, :, None]).max() < 0.01
    assert view.std() > 20


def test_a_film_of_the_models_size_is_unchanged(loaded: LoadedModel) -> None:
    film = noise_film(3, 128, 128)
    np.testing.assert_array_equal(model_view(loaded, film), rgb8(film)[:, :, 0])


def test_the_bundled_models_view() -> None:
    loaded = load_model("phantom")
    size = loaded.facts.image_size
    film = read_film(dicom(500, 620))
    view = model_view(loaded, film)
    assert view.shape == (size, size)
    values = build_prompt(loaded, [film], "Describe.").pixel_values[0].numpy().transpose(1, 2, 0)
    processor = loaded.processor.image_processor
    expected = (values * np.asarray(processor.image_std) + np.asarray(processor.image_mean)) * 255
    assert np.abs(expected - view[:, :, None]).max() < 0.01


def test_gray_stays_gray_where_the_channels_are_normalised_apart(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Means of their own are taken back channel by channel: gray stays gray."""
    processor = loaded.processor.image_processor
    monkeypatch.setattr(processor, "image_mean", [0.485, 0.456, 0.406])
    monkeypatch.setattr(processor, "image_std", [0.229, 0.224, 0.225])
    film = noise_film(3, 128, 128)
    np.testing.assert_array_equal(model_view(loaded, film), rgb8(film)[:, :, 0])
