"""Learned weights: found again where they are known, the best there are, and refused by another model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medinterp.errors import CalibrationError
from medinterp.evaluation.calibration import (
    CalibrationFilm,
    calibrate,
    calibration_film,
    divergence,
    fit_layer_weights,
)
from medinterp.model.calibration import read_layer_weights
from medinterp.types import ImageSpan
from tests.traces import make_trace

LAYERS, CELLS, TOKENS = 4, 30, 25
TRUE = np.array([0.55, 0.0, 0.15, 0.3])


def film(rng: np.random.Generator, weights: np.ndarray = TRUE, noise: float = 0.0) -> CalibrationFilm:
    """Components drawn at random; the target is their mixture, in nats of some size for each token."""
    components = rng.gamma(0.3, size=(TOKENS, LAYERS, CELLS))
    components /= components.sum(axis=-1, keepdims=True)
    target = np.einsum("l,tli->ti", weights, components) * rng.gamma(2.0, size=(TOKENS, 1))
    target = np.maximum(target + noise * rng.standard_normal(target.shape) * target.mean(), 0)
    return CalibrationFilm(components.astype(np.float32), target.astype(np.float32))


def test_the_weights_of_a_known_mixture_are_found_again() -> None:
    rng = np.random.default_rng(0)
    weights = fit_layer_weights([film(rng) for _ in range(4)], steps=5000, tolerance=1e-9)
    np.testing.assert_allclose(weights, TRUE, atol=5e-3)
    assert weights.dtype == np.float32
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-5)


def test_layers_with_little_mass_on_the_image_get_the_more_weight() -> None:
    """The same mixture, its layers' rows with masses 0.6 to 0.01: the map that is shown is the same."""
    masses = np.array([0.01, 0.6, 0.05, 0.3], dtype=np.float32)
    rng = np.random.default_rng(5)
    plain = [film(rng) for _ in range(4)]
    scaled = [CalibrationFilm(one.rows * masses[:, None], one.target) for one in plain]
    weights = fit_layer_weights(scaled, steps=5000, tolerance=1e-9)
    np.testing.assert_allclose(weights * masses / (weights * masses).sum(), TRUE, atol=5e-3)
    assert divergence(scaled, weights) == pytest.approx(divergence(plain, TRUE.astype(np.float32)), abs=1e-4)


def test_no_other_weights_have_less_divergence() -> None:
    rng = np.random.default_rng(1)
    films = [film(rng, noise=0.5) for _ in range(4)]
    weights = fit_layer_weights(films, steps=5000, tolerance=1e-9)
    least = divergence(films, weights)
    for _ in range(200):
        other = 0.9 * weights + 0.1 * rng.dirichlet(np.ones(LAYERS))
        assert divergence(films, other.astype(np.float32)) > least - 1e-6


def test_divergence_is_that_of_scipy() -> None:
    from scipy.stats import entropy

    one = film(np.random.default_rng(2))
    weights = np.full(LAYERS, 0.25, dtype=np.float32)
    mixture = np.einsum("l,tli->ti", weights, one.rows)
    shares = one.target.sum(axis=1) / one.target.sum()
    expected = sum(
        share * entropy(target, row) for share, target, row in zip(shares, one.target, mixture, strict=True)
    )
    assert divergence([one], weights) == pytest.approx(expected, rel=1e-4)


def test_held_out_films_tell_whether_learning_helped(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    made = calibrate([film(rng, noise=0.2) for _ in range(8)], "some/model", "abc", resamples=10)
    assert made.divergence["learned"] < min(made.divergence["uniform"], made.divergence["last layer"])
    assert "best single layer (0)" in made.divergence
    assert made.spread.shape == (LAYERS,)
    assert (made.spread < 0.1).all()
    path = tmp_path / "calibration.json"
    made.save(path)
    weights = read_layer_weights(path, model_revision="abc", layers=LAYERS)
    np.testing.assert_allclose(weights, made.layer_weights, atol=1e-5)
    entries = json.loads(path.read_text())
    assert entries["model_id"] == "some/model"
    assert entries["films"] == 8


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    good = {"model_id": "m", "model_revision": "abc", "layer_weights": [0.5, 0.5]}
    for entries, what in (
        ({**good, "model_revision": "abd"}, "made for revision abd"),
        ({**good, "layer_weights": [0.5, 0.25, 0.25]}, "2 weights"),
        ({**good, "layer_weights": [0.9, 0.9]}, "sum to 1"),
        ({**good, "layer_weights": [1.5, -0.5]}, "sum to 1"),
        ({"model_revision": "abc"}, "not a calibration"),
    ):
        path.write_text(json.dumps(entries))
        with pytest.raises(CalibrationError, match=what):
            read_layer_weights(path, model_revision="abc", layers=2)
    with pytest.raises(CalibrationError, match="not a calibration"):
        read_layer_weights(tmp_path / "none.json", model_revision="abc", layers=2)


def test_films_that_change_no_word_teach_nothing() -> None:
    still = CalibrationFilm(np.ones((2, 3, 4), dtype=np.float32) / 4, np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(CalibrationError, match="changed no word"):
        fit_layer_weights([still])
    with pytest.raises(CalibrationError, match="at least 4"):
        calibrate([film(np.random.default_rng(0))] * 3, "m", "r")


def test_a_layer_that_did_not_see_the_image_is_no_component() -> None:
    attention = np.full((3, 2, 2, 6), 0.1, dtype=np.float16)
    attention[:, 0] = 0
    made = calibration_film(make_trace(attention, (ImageSpan(2, 8, 2, 3),)), np.full((3, 6), -1.0, dtype=np.float32))
    np.testing.assert_allclose(made.rows[:, 1], 0.1, atol=1e-3)
    np.testing.assert_array_equal(made.components[:, 0], 0)
    np.testing.assert_allclose(made.components[:, 1].sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(made.target, 0)
