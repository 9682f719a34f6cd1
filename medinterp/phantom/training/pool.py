"""The pool of training films, drawn once: pictures at the model's size, where each finding lies, and the facts."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from medinterp.phantom.films import (
    SyntheticFilm,
    box_of_mask,
    cells_of,
    draw_film,
    facts_of,
    sample_crowded_film,
    sample_film,
)
from medinterp.phantom.reports import Fact
from medinterp.phantom.shortcut import TRAINING_CORRELATION, sample_shortcut_film

Kind = Literal["films", "crowded", "shortcut"]
"""Which films: as the model is meant to read them, for the tower only, or with a shortcut."""
SLOTS = 3
"""The most findings that a film has."""
CROWDED_SLOTS = 9
"""The most findings that a crowded film has."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Training films.

    images: uint8 [films, size, size]; coverage: uint8 [films, slots, 16, 16], share of every cell that a
    finding covers, in 255ths; boxes: float32 [films, slots, 4], the finding's top, left, bottom and right in shares
    of the film, zeros where its mask is empty; facts: what is true of each film, in the order of the coverage slots.
    """

    images: npt.NDArray[np.uint8]
    coverage: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    facts: tuple[tuple[Fact, ...], ...]

    def __len__(self) -> int:
        return len(self.facts)


def _sample(seed: int, kind: Kind) -> SyntheticFilm:
    if kind == "crowded":
        return sample_crowded_film(seed)
    return sample_shortcut_film(seed, TRAINING_CORRELATION) if kind == "shortcut" else sample_film(seed)


_Drawn = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.float32], list[dict[str, object]]]


def _draw_one(seed: int, size: int, kind: Kind) -> _Drawn:
    """One training film: as sampled, but of "films" a tenth has every finding taken out and more have one."""
    rng = np.random.default_rng([seed, 0x7001])
    film = _sample(seed, kind)
    removal = rng.random()
    if kind == "films" and removal < 0.10:
        while film.findings:
            film = film.without(0)
    elif kind == "films" and removal < 0.25:
        film = film.without(int(rng.integers(len(film.findings))))
    aspect = float(np.exp(rng.uniform(np.log(0.65), np.log(1.5))))
    if rng.random() < 0.12:
        height = int(rng.integers(400, 900))
        drawing = draw_film(film, round(height * aspect), height)
        small = Image.fromarray(drawing.uint8()).resize((size, size), Image.Resampling.BILINEAR)
        image = np.asarray(small)
    else:
        drawing = draw_film(film, size, size, aspect=aspect)
        image = drawing.uint8()
    coverage = np.zeros((CROWDED_SLOTS if kind == "crowded" else SLOTS, 16, 16), dtype=np.uint8)
    boxes = np.zeros((len(coverage), 4), dtype=np.float32)
    for slot, mask in enumerate(drawing.masks):
        coverage[slot] = np.round(cells_of(mask) * 255).astype(np.uint8)
        boxes[slot] = box_of_mask(mask)
    return image, coverage, boxes, [asdict(fact) for fact in facts_of(film, drawing)]


def _draw_chunk(first: int, count: int, size: int, kind: Kind, path: Path) -> Path:
    if not path.exists():
        drawn = [_draw_one(seed, size, kind) for seed in range(first, first + count)]
        facts = json.dumps([facts for *_, facts in drawn])
        partial = path.with_suffix(".part.npz")
        images, coverage, boxes = [d[0] for d in drawn], [d[1] for d in drawn], [d[2] for d in drawn]
        np.savez(partial, images=images, coverage=coverage, boxes=boxes, facts=facts)
        partial.rename(path)
    return path


def draw_pool(
    directory: Path,
    first_seed: int,
    count: int,
    size: int,
    workers: int = 2,
    *,
    kind: Kind = "films",
    chunk: int = 500,
) -> Pool:
    """Draw (or read again, where an earlier run drew them) the films of `count` seeds from `first_seed` on."""
    from tqdm import tqdm

    directory.mkdir(parents=True, exist_ok=True)
    end = first_seed + count
    parts = [(start, min(chunk, end - start)) for start in range(first_seed, end, chunk)]
    with ProcessPoolExecutor(workers) as executor:
        paths = [
            executor.submit(_draw_chunk, start, many, size, kind, directory / f"{kind}-{start}-{many}-{size}-boxes.npz")
            for start, many in parts
        ]
        loaded = [np.load(path.result()) for path in tqdm(paths, desc=f"drawing {kind}", unit="part")]
    facts = [tuple(Fact(**fact) for fact in film) for part in loaded for film in json.loads(str(part["facts"]))]
    return Pool(
        images=np.concatenate([part["images"] for part in loaded]),
        coverage=np.concatenate([part["coverage"] for part in loaded]),
        boxes=np.concatenate([part["boxes"] for part in loaded]),
        facts=tuple(facts),
    )
