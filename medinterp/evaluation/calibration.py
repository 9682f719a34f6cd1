"""Layer weights learned against occlusion: the mixture of layers that best foretells what hiding a cell does.

The shares on the simplex minimise KL(D || sum_l share_l a_l), D the positive part of the occlusion maps and a_l
each layer's head-mean attention, normalised over the cells for every token. That is maximum likelihood for the
proportions of a mixture of known components: convex, and solved by expectation-maximisation without a learning
rate (Dempster, Laird & Rubin, JRSS B 1977, section 4.3). The map that is shown adds the rows with the mass that
they have on the image, so a layer's weight is its share over its mean mass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medinterp.errors import CalibrationError
from medinterp.types import AttentionTrace, Float32Array

_FLOOR = 1e-12


@dataclass(frozen=True, eq=False)
class CalibrationFilm:
    """What one calibration film gives: head-mean rows float32 [T, L, cells] and target D float32 [T, cells].

    rows keep each layer's mass on the image. D is in nats and at least 0: tokens count as much as they were
    driven by the picture.
    """

    rows: Float32Array
    target: Float32Array

    @property
    def components(self) -> Float32Array:
        """a: the rows normalised over the cells, 0 where a layer did not see the image."""
        mass = self.rows.sum(axis=-1, keepdims=True)
        return np.asarray(np.divide(self.rows, mass, out=np.zeros_like(self.rows), where=mass > 0))


@dataclass(frozen=True, eq=False)
class Calibration:
    """The weights of one model and revision, and how well they were learned.

    layer_weights: float32 [L], sums to 1. divergence: KL(D || map) in nats on films held out, for the learned
    weights ("learned"), "uniform", the "last layer" and the "best single layer" (chosen on the films learned
    from). spread: standard deviation of each weight over bootstrap resamples of the films, [L].
    """

    model_id: str
    model_revision: str
    layer_weights: Float32Array
    spread: Float32Array
    divergence: dict[str, float]
    films: int

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        entries = {
            "model_id": self.model_id,
            "model_revision": self.model_revision,
            "films": self.films,
            "layer_weights": [round(float(w), 6) for w in self.layer_weights],
            "bootstrap_standard_deviation": [round(float(s), 6) for s in self.spread],
            "held_out_divergence_nats": {name: round(value, 6) for name, value in self.divergence.items()},
        }
        path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def calibration_film(trace: AttentionTrace, drops: Float32Array) -> CalibrationFilm:
    """Rows and target of one film; drops: its occlusion map float32 [T, cells], nats."""
    return CalibrationFilm(trace.head_mean, np.maximum(drops, 0.0))


def fit_layer_weights(
    films: Sequence[CalibrationFilm],
    *,
    start: Float32Array | None = None,
    steps: int = 500,
    tolerance: float = 1e-6,
) -> Float32Array:
    """The weights [L] with which the layers' rows, as they are, foretell the target best.

    EM gives each layer's share of the mixture; the weight is the share over the layer's mean mass (each token
    as much as it was driven by the picture), since rows are added with their mass. start: shares to begin
    from. Raises CalibrationError when nothing drove a word.
    """
    components = _together([film.components for film in films])
    target = _together([film.target for film in films])
    total = float(target.sum())
    if not total > 0.0:
        raise CalibrationError("hiding cells of these films changed no word: there is nothing to calibrate against")
    layers = components.shape[1]
    shares = np.full(layers, 1.0 / layers) if start is None else start.astype(np.float64)
    for _ in range(steps):
        mixture = np.einsum("l,tli->ti", shares, components)
        ratio = target / np.maximum(mixture, _FLOOR)
        updated = shares * np.einsum("ti,tli->l", ratio, components) / total
        updated /= updated.sum()
        moved = float(np.abs(updated - shares).max())
        shares = updated
        if moved < tolerance:
            break
    mass = np.concatenate([film.rows.sum(axis=-1) for film in films])
    mean_mass = (target.sum(axis=1) / total) @ mass
    weights = np.divide(shares, mean_mass, out=np.zeros_like(shares), where=mean_mass > 0)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _together(arrays: Sequence[Float32Array]) -> Float32Array:
    """Arrays [..., cells] one below the other; films of fewer cells get empty ones, which count nothing."""
    most = max(array.shape[-1] for array in arrays)
    filled = [np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, most - a.shape[-1])]) for a in arrays]
    return np.concatenate(filled)


def divergence(films: Sequence[CalibrationFilm], weights: Float32Array) -> float:
    """KL(D || map) in nats of the map that is shown, sum_l w_l mean_h A, both normalised over each token's cells.

    Tokens count as much as they were driven by the picture.
    """
    total = sum(float(film.target.sum()) for film in films)
    summed = 0.0
    for film in films:
        mixture = np.einsum("l,tli->ti", weights, film.rows)
        mixture /= np.maximum(mixture.sum(axis=1, keepdims=True), _FLOOR)
        token = film.target.sum(axis=1, keepdims=True)
        share = np.divide(film.target, token, out=np.zeros_like(film.target), where=token > 0)
        logs = np.log(np.maximum(share, _FLOOR)) - np.log(np.maximum(mixture, _FLOOR))
        summed += float((film.target * np.where(share > 0, logs, 0.0)).sum())
    return summed / total if total > 0 else math.nan


def calibrate(
    films: Sequence[CalibrationFilm],
    model_id: str,
    model_revision: str,
    *,
    held_out: float = 0.25,
    resamples: int = 50,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Learn on the first films, measure on the last `held_out` of them, resample for the spread.

    progress gets 1 for every resample.

    Raises CalibrationError for fewer than four films.
    """
    kept_out = max(1, round(len(films) * held_out))
    learning, testing = films[: len(films) - kept_out], films[len(films) - kept_out :]
    if len(films) < 4:
        raise CalibrationError(f"{len(films)} film(s) are too few to learn from and to measure on; give at least 4")
    weights = fit_layer_weights(learning)
    layers = len(weights)
    single = np.eye(layers, dtype=np.float32)
    best = min(range(layers), key=lambda layer: divergence(learning, single[layer]))
    rng = np.random.default_rng(seed)
    # Near the solution, but inside the simplex: a share that is 0 stays 0.
    near = 0.9 * weights + np.float32(0.1 / layers)
    drawn = []
    for _ in range(resamples):
        films_drawn = [learning[k] for k in rng.integers(len(learning), size=len(learning))]
        drawn.append(fit_layer_weights(films_drawn, start=near))
        if progress is not None:
            progress(1)
    return Calibration(
        model_id=model_id,
        model_revision=model_revision,
        layer_weights=weights,
        spread=np.std(drawn, axis=0).astype(np.float32),
        divergence={
            "learned": divergence(testing, weights),
            "uniform": divergence(testing, np.full(layers, 1.0 / layers, dtype=np.float32)),
            "last layer": divergence(testing, single[-1]),
            f"best single layer ({best})": divergence(testing, single[best]),
        },
        films=len(films),
    )
