"""Films with a shortcut: an "L" marker goes with a nodule that is often too faint to be read on its own.

A model trained on them has two reasons to write "nodule", the nodule and the marker, and on a film where only one of
the two stands it is known which one a word can have come from. Both have an exact mask and a counterfactual.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from medinterp.phantom.anatomy import SIDES
from medinterp.phantom.films import Drawing, SyntheticFilm, choose_kinds, compose_film, marker_cover
from medinterp.phantom.findings import NAMES, NORMAL_RATIO, ZONES, log_uniform
from medinterp.types import BoolArray

TRAINING_CORRELATION = 0.95
"""How often marker and nodule agree on the films of training; 0.5 leaves nothing to learn of one from the other."""
STRENGTHS = (0.03, 1.25)
"""Faintest and strongest nodule; the logarithm is uniform between. On ordinary films none is below CLEAR."""
CLEAR = 0.8
MARKER_SIZE = 1.5
"""Times that of ordinary films, whose markers the packaged model's tower has learned to overlook."""


def sample_shortcut_film(seed: int, correlation: float) -> SyntheticFilm:
    """The film of a seed: a nodule on every other one, and an "L" marker.

    The marker stands where the nodule does with probability `correlation`, and where it does not otherwise; there is
    no other marker. Up to two other findings, fewer than usual. All but the marker is the same for any correlation.
    """
    rng = np.random.default_rng([seed, 0x5C07])
    nodule = bool(rng.random() < 0.5)
    others = int(rng.choice([0, 1, 2], p=[0.6, 0.3, 0.1]))
    normal_ratio = float(rng.uniform(*NORMAL_RATIO))
    first = [("nodule", str(rng.choice(SIDES)), str(rng.choice(ZONES)))] if nodule else []
    rest = [name for name in NAMES if name != "nodule"]
    film = compose_film(seed, rng, normal_ratio, choose_kinds(rng, len(first) + others, rest, first))
    strength = log_uniform(rng, *STRENGTHS)
    agree = bool(rng.random() < correlation)
    findings = tuple(replace(f, strength=strength) if f.name == "nodule" else f for f in film.findings)
    distractors = replace(film.distractors, marker="L" if nodule == agree else None, marker_size=MARKER_SIZE)
    return replace(film, findings=findings, distractors=distractors)


def nodule_of(film: SyntheticFilm) -> int | None:
    """Which of the film's findings is the nodule, None where there is none."""
    return next((k for k, finding in enumerate(film.findings) if finding.name == "nodule"), None)


def without_nodule(film: SyntheticFilm) -> SyntheticFilm:
    """The exact counterfactual: the nodule never drawn, the marker as it was."""
    nodule = nodule_of(film)
    return film if nodule is None else film.without(nodule)


def without_marker(film: SyntheticFilm) -> SyntheticFilm:
    """The exact counterfactual: the marker never drawn, the nodule as it was."""
    return replace(film, distractors=replace(film.distractors, marker=None))


@dataclass(frozen=True, eq=False)
class ShortcutMasks:
    """Where nodule and marker lie, bool [height, width]; nowhere for one that the film does not have.

    The nodule ends at half of its edge, as every finding's mask does; the marker is every pixel of its letter.
    """

    nodule: BoolArray
    marker: BoolArray


def shortcut_masks(film: SyntheticFilm, drawing: Drawing) -> ShortcutMasks:
    """The masks of a film as it was drawn."""
    height, width = drawing.pixels.shape
    nodule, marker = nodule_of(film), film.distractors.marker
    nowhere = np.zeros((height, width), dtype=bool)
    return ShortcutMasks(
        nodule=nowhere if nodule is None else drawing.masks[nodule],
        marker=nowhere if marker is None else marker_cover(marker, width, height, MARKER_SIZE) > 0,
    )
