"""Small changes to a film that should change no reading, and the way back for maps of the changed film.

A change is only worth making where the model can see it: every film is squashed to the model's input, so grain and
single pixels are drawn at the size of one pixel of that input (`side` pixels at each side), which on a large film is
a block of its pixels. On a film smaller than the input they are the film's own pixels.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.errors import SelectionError
from medinterp.types import Film, Float32Array

Pixels = npt.NDArray[Any]
MapChange = Callable[[Float32Array], Float32Array]


def _unmoved(values: Float32Array) -> Float32Array:
    return values


@dataclass(frozen=True)
class Perturbation:
    """A named change of a film.

    meaning: one line for people, with the strength; change: uint8 or uint16 [height, width], a random source and the
    model's input side in; pixels of the same dtype out. forth, back: a map float32 [rows, columns] of the film, as it
    would lie on the changed film, and back again; neither rescales it. mirrors: left and right have changed places,
    in the picture and therefore in what is true of it.
    """

    name: str
    meaning: str
    change: Callable[[Pixels, np.random.Generator, int], Pixels]
    forth: MapChange = _unmoved
    back: MapChange = _unmoved
    mirrors: bool = False

    def apply(self, film: Film, *, seed: int, side: int) -> Film:
        """The changed film, of the film's own dtype; the same for the same film, seed and side.

        seed: 0 or more; each perturbation draws from a source of its own. side: pixels at each side of the model's
        input. The film's sha256 becomes that of the changed pixels, and its notes say what was done.
        """
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        pixels = np.ascontiguousarray(self.change(film.pixels, rng, side))
        notes = (*film.notes, f"perturbed: {self.meaning}, seed {seed}")
        return Film(pixels, film.media_type, hashlib.sha256(pixels.tobytes()).hexdigest(), notes)


def noise(sigma: float = 0.05) -> Perturbation:
    """Gaussian noise; sigma: its standard deviation as a share of the dtype's full range, above 0."""
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it is above 0")

    def change(pixels: Pixels, rng: np.random.Generator, side: int) -> Pixels:
        height, width = pixels.shape
        drawn = rng.normal(0.0, sigma * np.iinfo(pixels.dtype).max, (min(height, side), min(width, side)))
        grain = cv2.resize(drawn.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return _in_range(pixels + grain, pixels.dtype)

    return Perturbation("noise", f"Gaussian noise, sigma {sigma:g} of the full range", change)


def contrast(factor: float = 0.75) -> Perturbation:
    """Every pixel's distance from the film's mean times factor; below 1 is flatter, above 1 harder."""
    if not factor >= 0:
        raise ValueError(f"factor is {factor}; it is 0 or more")

    def change(pixels: Pixels, rng: np.random.Generator, side: int) -> Pixels:
        mean = float(pixels.mean(dtype=np.float64))
        return _in_range(mean + factor * (pixels.astype(np.float64) - mean), pixels.dtype)

    return Perturbation("contrast", f"contrast times {factor:g} about the mean", change)


def five_pixels() -> Perturbation:
    """Five pixels of the model's input, drawn at random, set to full or to none: whichever is further from them.

    After Su, Vargas & Sakurai 2019 (one pixel attack), who search for the worst pixels; these are not searched for.
    """

    def change(pixels: Pixels, rng: np.random.Generator, side: int) -> Pixels:
        height, width = pixels.shape
        rows, columns = min(height, side), min(width, side)
        full, changed = np.iinfo(pixels.dtype).max, pixels.copy()
        for place in rng.choice(rows * columns, size=5, replace=False):
            row, column = divmod(int(place), columns)
            down = slice(row * height // rows, (row + 1) * height // rows)
            across = slice(column * width // columns, (column + 1) * width // columns)
            changed[down, across] = 0 if changed[down, across].mean() > full / 2 else full
        return changed

    return Perturbation("five_pixels", "five pixels of the model's input set to full or none", change)


def flip() -> Perturbation:
    """Left and right exchanged. The heart then lies on the other side, which few films show: no small change."""
    return Perturbation(
        "flip",
        "left and right exchanged",
        lambda pixels, rng, side: pixels[:, ::-1],
        forth=lambda values: values[:, ::-1],
        back=lambda values: values[:, ::-1],
        mirrors=True,
    )


def crop(share: float = 0.04) -> Perturbation:
    """A share of the film's width cut off on the left and on the right, and of its height above and below.

    The film becomes smaller by whole pixels; maps are moved by the exact share, which is less than a pixel off.
    """
    if not 0 < share < 0.5:
        raise ValueError(f"share is {share}; it is above 0 and below 0.5")

    def change(pixels: Pixels, rng: np.random.Generator, side: int) -> Pixels:
        height, width = pixels.shape
        down, across = round(share * height), round(share * width)
        return pixels[down : height - down, across : width - across]

    def moved(values: Float32Array, forth: bool) -> Float32Array:
        down, across = (_overlap(count, share, forth) for count in values.shape)
        return np.asarray(down @ values.astype(np.float64) @ across.T, dtype=np.float32)

    return Perturbation(
        "crop",
        f"{100 * share:g} % cut off each side",
        change,
        forth=lambda values: moved(values, True),
        back=lambda values: moved(values, False),
    )


def _overlap(count: int, share: float, forth: bool) -> npt.NDArray[np.float64]:
    """Along one axis, the share of each source cell that lies in each target cell, [target cells, source cells].

    forth: from the whole film's cells to those of the cropped one (what is cut off is lost); else back (all is kept).
    """
    whole = np.linspace(0.0, 1.0, count + 1)
    cropped = np.linspace(share, 1.0 - share, count + 1)
    source, target = (whole, cropped) if forth else (cropped, whole)
    low = np.maximum(target[:-1, None], source[None, :-1])
    high = np.minimum(target[1:, None], source[None, 1:])
    return np.asarray(np.maximum(high - low, 0.0) / np.diff(source))


def _in_range(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    changed: Pixels = np.clip(np.rint(values), 0, np.iinfo(dtype).max).astype(dtype)
    return changed


PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType(
    {made.name: made for made in (noise(), contrast(), five_pixels(), flip(), crop())}
)
"""The perturbations at their usual strength, by name."""


def get_perturbations(names: Sequence[str]) -> tuple[Perturbation, ...]:
    """The perturbations of those names; raises SelectionError listing those there are."""
    unknown = [name for name in names if name not in PERTURBATIONS]
    if unknown:
        raise SelectionError(f"there is no perturbation {unknown[0]!r}; there are: {', '.join(PERTURBATIONS)}")
    return tuple(PERTURBATIONS[name] for name in names)
