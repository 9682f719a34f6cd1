"""The films that a model was made for: a film that is none of them is told before the model reads it.

A model that has learned from one kind of films writes about any other with the same confidence. Its directory may hold
a description of its films: mean and covariance of the lowest spatial frequencies of a small copy, and the largest
Mahalanobis distance that counts as near (Lee et al., NeurIPS 2018, on the pictures in place of hidden states).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from medinterp.errors import ModelError
from medinterp.imaging.chest import small_copy
from medinterp.imaging.perturb import PERTURBATIONS
from medinterp.types import Film, FilmWarning

FREQUENCIES = 6
"""Rows and columns of the cosine transform that are kept; the mean is left out."""
FEATURES = FREQUENCIES**2 - 1
CHANGES = ("noise", "contrast", "crop")
"""Small changes of a film, beside a JPEG's losses, that leave it one of its kind."""
FEWEST = 100
"""Films without which a covariance says nothing."""
SLACK = 1.05
"""How much further than the furthest of its own films, slightly changed ones among them, a film may lie."""

Doubles = npt.NDArray[np.float64]
Pixels = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class FilmDomain:
    """mean: float64 [FEATURES]; covariance: float64 [FEATURES, FEATURES]; threshold: a squared distance above 0;
    films: how many it was fitted on."""

    mean: Doubles
    covariance: Doubles
    threshold: float
    films: int

    def distance(self, pixels: Pixels) -> float:
        """Squared Mahalanobis distance of a film, pixels as in Film, from the films of the domain."""
        off = features(pixels) - self.mean
        return float(off @ np.linalg.solve(self.covariance, off))

    def warnings(self, film: Film) -> tuple[FilmWarning, ...]:
        """A warning that withholds the report when the film is unlike those that the model was made for."""
        distance = self.distance(film.pixels)
        if distance <= self.threshold:
            return ()
        told = (
            "This film does not look like those that this model was made for: whatever it writes is made up "
            f"(distance {distance:.0f}, its own films stay below {self.threshold:.0f})."
        )
        return (FilmWarning("foreign", told, withholds=True),)

    def save(self, path: Path) -> None:
        """Write the description as JSON."""
        lower = self.covariance[np.tril_indices(FEATURES)]
        entries = {
            "films": self.films,
            "frequencies": FREQUENCIES,
            "threshold": round(self.threshold, 2),
            "mean": [float(f"{value:.6g}") for value in self.mean],
            "covariance": [float(f"{value:.6g}") for value in lower],
        }
        path.write_text(json.dumps(entries) + "\n", encoding="utf-8")


def read_domain(path: Path) -> FilmDomain:
    """The description that `FilmDomain.save` wrote. Raises ModelError for any other file."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        lower = np.asarray(entries["covariance"], dtype=np.float64)
        mean = np.asarray(entries["mean"], dtype=np.float64)
        covariance = np.zeros((FEATURES, FEATURES))
        covariance[np.tril_indices(FEATURES)] = lower
        covariance += np.tril(covariance, -1).T
        domain = FilmDomain(mean, covariance, float(entries["threshold"]), int(entries["films"]))
        known = entries["frequencies"] == FREQUENCIES and mean.shape == (FEATURES,) and np.isfinite(domain.threshold)
        if not known or domain.threshold <= 0 or not np.isfinite(mean).all():
            raise ValueError("its numbers are not those of this version")
        np.linalg.cholesky(covariance)
    except (OSError, ValueError, KeyError, TypeError, np.linalg.LinAlgError) as error:
        raise ModelError(f"{path} is no description of films that `medinterp domain` wrote: {error}") from error
    return domain


def fit_domain(films: Iterable[Film], *, progress: Callable[[], object] = lambda: None) -> FilmDomain:
    """Describe films by themselves and by what they look like slightly changed.

    Raises ModelError for fewer than FEWEST films.
    """
    seen: list[Doubles] = []
    count = 0
    for film in films:
        count += 1
        longest = max(film.pixels.shape)
        changed = [PERTURBATIONS[name].apply(film, seed=count, side=longest).pixels for name in CHANGES]
        seen += [features(pixels) for pixels in (film.pixels, *changed, _as_jpeg(film.pixels))]
        progress()
    if count < FEWEST:
        raise ModelError(f"a description needs {FEWEST} films at least; there are {count}")
    rows = np.stack(seen)
    mean, covariance = rows.mean(axis=0), np.cov(rows.T)
    covariance += 1e-5 * np.trace(covariance) / FEATURES * np.eye(FEATURES)
    off = rows - mean
    distances = (off * np.linalg.solve(covariance, off.T).T).sum(axis=1)
    return FilmDomain(mean, covariance, SLACK * float(distances.max()), count)


def features(pixels: Pixels) -> Doubles:
    """float64 [FEATURES]: the lowest frequencies (DCT-II) of the film's small copy, the mean left out."""
    transformed = cv2.dct(small_copy(pixels))[:FREQUENCIES, :FREQUENCIES]
    return np.asarray(transformed.ravel()[1:], dtype=np.float64)


def _as_jpeg(pixels: Pixels) -> Pixels:
    gray = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(gray).save(file, "JPEG", quality=85)
    return np.asarray(Image.open(file))
