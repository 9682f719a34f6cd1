"""Are films that a model was not made for told, and its own let pass? (imaging/domain.py)"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from medinterp.evaluation.intervals import bootstrap_rate
from medinterp.imaging import look, read_film
from medinterp.imaging.domain import FilmDomain
from medinterp.imaging.perturb import PERTURBATIONS
from medinterp.phantom.files import write_dicom
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film
from medinterp.types import Film

FIRST_SEED = TEST_SEEDS_START + 400_000
"""Of the films of its own: none was seen by a description, a threshold or another measurement."""
SIZES = ((450, 500), (500, 450), (480, 360), (320, 400), (600, 500), (900, 850))

Pixels = npt.NDArray[np.uint8]


def gray8(film: Film) -> Pixels:
    """A film's pixels in 8 bits."""
    pixels = film.pixels if film.pixels.dtype == np.uint8 else film.pixels >> 8
    return np.asarray(pixels, dtype=np.uint8)


def own_film(k: int, directory: Path) -> tuple[str, Film]:
    """Film k of the model's own, and how it came: as PNG, as JPEG, as DICOM of 16 bits, windowed, slightly changed."""
    drawn = draw_film(sample_film(FIRST_SEED + k), *SIZES[k % len(SIZES)])
    pixels, seed = drawn.uint8(), k
    kind = ("png", "jpeg", "dicom", "windowed", "noise", "contrast", "crop")[k % 7]
    if kind == "jpeg":
        return kind, read_film(_jpeg(pixels, 60 + k % 36))
    if kind == "dicom":
        path = directory / "film.dcm"
        write_dicom(drawn.uint16(), path)
        return kind, read_film(path.read_bytes())
    if kind == "windowed":
        low, high = np.percentile(pixels, (1 + k % 3, 99 - k % 3))
        return kind, _film(np.clip((pixels - low) / (high - low), 0, 1) * 255)
    film = _film(pixels)
    return kind, film if kind == "png" else PERTURBATIONS[kind].apply(film, seed=seed, side=max(pixels.shape))


def variants(pixels: Pixels) -> dict[str, Pixels]:
    """A film as other departments, files and screens have it: each is counted as a film of its own, and is none."""
    height, width = pixels.shape
    made: dict[str, npt.NDArray[Any]] = {"as it is": pixels, "mirrored": pixels[:, ::-1]}
    for name, (top, bottom, left, right) in _CROPS.items():
        made[f"crop {name}"] = pixels[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    share = pixels / 255.0
    for gamma in (0.5, 0.7, 1.4, 2.0):
        made[f"gamma {gamma}"] = share**gamma * 255
    for contrast in (0.6, 1.4):
        made[f"contrast {contrast}"] = ((share - 0.5) * contrast + 0.5) * 255
    for low, high in ((5, 95), (15, 99), (1, 80)):
        bottom, top = np.percentile(pixels, (low, high))
        made[f"window {low} to {high} %"] = (pixels - bottom) / max(top - bottom, 1) * 255
    for sigma in (5, 20):
        made[f"noise {sigma}"] = pixels + np.random.default_rng(sigma).normal(0, sigma, pixels.shape)
    for side in (256, 1024):
        made[f"resized to {side}"] = cv2.resize(pixels, (side, side * height // width), interpolation=cv2.INTER_AREA)
    made["jpeg 30"] = np.asarray(Image.open(io.BytesIO(_jpeg(pixels, 30))))
    made["blurred"] = cv2.GaussianBlur(pixels, (0, 0), max(width / 200, 1))
    made["evened (CLAHE)"] = cv2.createCLAHE(2.0, (8, 8)).apply(pixels)
    for angle in (-6, 6):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        made[f"turned {angle} degrees"] = cv2.warpAffine(pixels, turn, (width, height))
    made["with a border"] = np.pad(pixels, ((height // 12,) * 2, (width // 12,) * 2))
    return {name: np.ascontiguousarray(np.clip(np.rint(one), 0, 255).astype(np.uint8)) for name, one in made.items()}


_CROPS: Mapping[str, tuple[float, float, float, float]] = {
    "a little": (0.03, 0.97, 0.03, 0.97),
    "the top": (0.1, 1.0, 0.0, 1.0),
    "the bottom": (0.0, 0.9, 0.0, 1.0),
    "the left": (0.0, 1.0, 0.1, 1.0),
    "the lungs": (0.1, 0.85, 0.1, 0.9),
}


def evaluate_domain(
    domain: FilmDomain,
    films: int = 500,
    foreign: Mapping[str, Sequence[Pixels]] | None = None,
    *,
    directory: Path,
    progress: Callable[[int], Any] = lambda _: None,
) -> dict[str, Any]:
    """False alarms on the model's own films, and the share of others, each with its `variants`, that are told.

    foreign: by kind; directory: for the files that DICOM is written to. domain alone: of the description; told: of it
    or of the film gate, as a reader is told. Intervals are bootstrapped over films, variants of one film together.
    """
    rng = np.random.default_rng(0)
    alarms: list[list[float]] = []
    by_kind: dict[str, list[float]] = {}
    furthest = 0.0
    for k in range(films):
        kind, film = own_film(k, directory)
        distance = domain.distance(film.pixels)
        furthest = max(furthest, distance)
        alarms.append([float(distance > domain.threshold)])
        by_kind.setdefault(kind, []).append(alarms[-1][0])
        progress(1)
    told: dict[str, Any] = {}
    for name, pictures in (foreign or {}).items():
        changed = [variants(picture) for picture in pictures]
        distances = [[domain.distance(one) for one in some.values()] for some in changed]
        alone = [[float(distance > domain.threshold) for distance in some] for some in distances]
        either = [
            [max(found, float(any(warning.withholds for warning in look(one))))
             for found, one in zip(row, some.values(), strict=True)]
            for row, some in zip(alone, changed, strict=True)
        ]  # fmt: skip
        missed = [
            variant for row, some in zip(either, changed, strict=True)
            for found, variant in zip(row, some, strict=True) if not found
        ]  # fmt: skip
        told[name] = {
            "films": len(pictures),
            "variants": sum(map(len, alone)),
            "domain_alone": bootstrap_rate(alone, rng),
            "told": bootstrap_rate(either, rng),
            "nearest": round(min(map(min, distances)), 1),
            "missed": missed,
        }
    return {
        "threshold": domain.threshold,
        "films": films,
        "furthest": round(furthest, 1),
        "false_alarms": bootstrap_rate(alarms, rng),
        "by_kind": {kind: float(np.mean(found)) for kind, found in sorted(by_kind.items())},
        "foreign": told,
    }


def _film(pixels: npt.NDArray[Any]) -> Film:
    return Film(np.rint(pixels).astype(np.uint8), "image/png", "")


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()
