"""Do maps lie on the finding that the words name? Pointing and relevancy mass on films with known truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from medinterp.evaluation.intervals import bootstrap_mean
from medinterp.evaluation.metrics import covered_mass, mass, pointing
from medinterp.evaluation.reading import CALIBRATION_SEEDS_START, film_of, unseen_films
from medinterp.phantom.films import cells_of, draw_film, facts_of, sample_film, size_in_cells
from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import Fact
from medinterp.relevancy import METHODS, compute_maps, get_method, select_map
from medinterp.report import is_impression
from medinterp.types import BoolArray, Film, Float32Array, Generation, MapPack, Report

FIRST_SEED = 10_200_000
"""First seed of the films that localisation is measured on."""
TOUCHED = 0.10
"""A cell lies on a finding when the finding's mask covers at least this share of it."""
PRIOR_FILMS = 400
"""Films (apart from training and test) that the mean mask of each kind of finding is made of."""
METRICS = ("pointing", "mass", "covered_mass")
"""What is measured of every map."""


def mean_masks(films: int = PRIOR_FILMS) -> dict[str, Float32Array]:
    """Where each kind of finding lies on average, float32 [16, 16]: the best guess without looking."""
    sums = {name: np.zeros((16, 16), dtype=np.float32) for name in NAMES}
    for seed in range(CALIBRATION_SEEDS_START + 500_000, CALIBRATION_SEEDS_START + 500_000 + films):
        film = sample_film(seed)
        for finding, mask in zip(film.findings, draw_film(film, 128, 128).masks, strict=True):
            sums[finding.name] += cells_of(mask)
    return sums


def variants_of(layers: int, measured: Sequence[str] = ()) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """What is judged: the methods that need a trace alone, those measured, raw attention of each layer and the mean."""
    named: dict[str, tuple[str, Mapping[str, Any]]] = {
        name: (name, {}) for name, method in METHODS.items() if name in measured or not method.on_model
    }
    named |= {f"raw, layer {k}": ("raw", {"layer": k}) for k in range(layers)}
    return {**named, "raw, mean of layers": ("raw", {"layer": "mean"})}


def evaluate_localisation(
    read: Callable[[Film], Generation],
    layers: int,
    films: int = 500,
    *,
    measured: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Pointing, mass and covered mass of every method, for words that name a finding of one cell or more.

    read: a film in, report and trace (with layer_attention) out, by a model of `layers` language layers.
    measured: methods that run on the model and whose cells `read` gives too (Generation.measured).
    Findings that the report does not affirm are left out (`words` counts the rest). Beside the methods stand a
    random map, the film's centre, the mean mask of the finding's kind, and the grid's ceiling: a map of the cell
    that the finding covers most. A finding on both sides that the report calls bilateral is judged once, by both
    masks together. Pointing and mass count the cells that the finding touches (TOUCHED) as on it; covered mass counts
    each cell by its covered share. 95 % intervals from a bootstrap over films.
    """
    variants = variants_of(layers, measured)
    masks = mean_masks()
    names = (*variants, "random", "centre", "mean mask", "ceiling")
    scores: dict[str, dict[str, list[list[float]]]] = {name: {metric: [] for metric in METRICS} for name in names}
    for synthetic, width, height in unseen_films(films, FIRST_SEED):
        film, _ = film_of(synthetic, width, height)
        generation = read(film)
        packs = _packs(generation, variants)
        drawing = draw_film(synthetic, width, height)
        of_film: list[dict[str, tuple[float, float, float]]] = []
        for fact, mask in _told_together(generation.report, facts_of(synthetic, drawing), drawing.masks):
            tokens = naming_tokens(generation.report, fact)
            if size_in_cells(mask) < 1.0 or not tokens:
                continue
            maps = {name: select_map(pack, tokens).values for name, pack in packs.items()}
            grid = next(iter(maps.values())).shape
            coverage = cells_of(mask, *grid)
            touched = coverage >= TOUCHED
            maps |= {"random": np.ones_like(coverage), "centre": centre_prior(*grid)}
            maps |= {"mean mask": on_grid(masks[fact.name], *grid)}
            maps |= {"ceiling": (coverage == coverage.max()).astype(np.float32)}
            of_film.append(
                {
                    name: (pointing(values, touched), mass(values, touched), covered_mass(values, coverage))
                    for name, values in maps.items()
                }
            )
        for name in names if of_film else ():
            for place, metric in enumerate(METRICS):
                scores[name][metric].append([of_word[name][place] for of_word in of_film])
        if progress is not None:
            progress(1)
    rng = np.random.default_rng(seed)
    return {
        "films": films,
        "words": sum(len(values) for values in scores["random"]["pointing"]),
        "methods": {
            name: {metric: bootstrap_mean(scores[name][metric], rng) for metric in METRICS} for name in names
        },
    }


def _told_together(
    report: Report, facts: Sequence[Fact], masks: Sequence[BoolArray]
) -> list[tuple[Fact, BoolArray]]:
    """Facts with their masks; two sides that the report joins in one "bilateral" finding are one fact."""
    joined = {finding.name for finding in report.findings if finding.present and finding.side == "bilateral"}
    told: list[tuple[Fact, BoolArray]] = []
    for fact, mask in zip(facts, masks, strict=True):
        others = [m for f, m in zip(facts, masks, strict=True) if f.name == fact.name]
        if fact.name not in joined or len(others) == 1:
            told.append((fact, mask))
        elif mask is others[0]:
            told.append((replace(fact, side="bilateral"), np.logical_or.reduce(others)))
    return told


def naming_tokens(report: Report, fact: Fact) -> list[int]:
    """The tokens by which a report affirms a finding, unhedged, outside its impression; none when it does not."""
    for finding in report.findings:
        told = finding.present and finding.name == fact.name and finding.side in (fact.side, None)
        if told and not is_impression(finding.section):
            return [token for k in finding.word_indices for token in report.words[k].token_indices]
    return []


def _packs(generation: Generation, variants: Mapping[str, tuple[str, Mapping[str, Any]]]) -> dict[str, MapPack]:
    plain = [method for name, (method, options) in variants.items() if name == method and not options]
    packs = compute_maps(generation.trace, plain, measured=generation.measured)
    for name, (method, options) in variants.items():
        if name not in packs:
            packs[name] = get_method(method).run(generation.trace, options)
    return packs


def on_grid(values: Float32Array, rows: int, columns: int) -> Float32Array:
    """A map on another grid, float32 [rows, columns]: of each cell the mean of what it covers."""
    if values.shape == (rows, columns):
        return values
    fine = np.repeat(np.repeat(values, rows, axis=0), columns, axis=1)
    height, width = values.shape
    return np.asarray(fine.reshape(rows, height, columns, width).mean(axis=(1, 3)), dtype=np.float32)


def centre_prior(rows: int, columns: int) -> Float32Array:
    """A hill in the middle of the film, a quarter of its side wide, float32 [rows, columns]: it looks at nothing."""
    down, across = ((np.arange(count) + 0.5) / count - 0.5 for count in (rows, columns))
    hill = np.exp(-((down[:, None] ** 2 + across[None, :] ** 2) / (2 * 0.25**2)))
    return hill.astype(np.float32)


def edge_prior(film: Film, rows: int, columns: int) -> Float32Array:
    """How much the film's gray changes (Sobel, of 256 x 256 pixels), float32 [rows, columns]: it knows no word."""
    small = cv2.resize(film.pixels.astype(np.float32), (256, 256), interpolation=cv2.INTER_AREA)
    edges = np.hypot(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.resize(edges, (columns, rows), interpolation=cv2.INTER_AREA), np.float32)
