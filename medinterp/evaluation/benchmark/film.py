"""One film of the benchmark: its certified tokens, and what every method's maps of them are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import cv2
import numpy as np

from medinterp.evaluation.benchmark.certified import certify
from medinterp.evaluation.benchmark.maps import EXACT, token_maps
from medinterp.evaluation.faithfulness import Judge
from medinterp.evaluation.fills import swapped_films
from medinterp.evaluation.localisation import TOUCHED, centre_prior, edge_prior, on_grid
from medinterp.evaluation.metrics import cnr, covered_mass, mass, miou_curve, miou_otsu, pointing, spearman
from medinterp.evaluation.reading import film_of
from medinterp.imaging.geometry import upsample
from medinterp.model import Generator
from medinterp.model.loading import LoadedModel
from medinterp.phantom.films import SyntheticFilm, cells_of, draw_film, size_in_cells
from medinterp.report import is_impression
from medinterp.types import Asked, BoolArray, Film, Float32Array, Generation, Report

PRIORS = ("random", "centre", "mean mask", "Sobel", "ceiling")
"""What stands beside the methods: nothing known, the film's middle, the kind's usual place, edges of the film, and
the cell that the finding covers most."""
SIDE = 256
"""Pixels a side at which mIoU and CNR are taken."""
SIZES = ((1.0, "below 1 cell"), (4.0, "1 to 4 cells"), (np.inf, "4 cells and more"))


@dataclass(frozen=True, eq=False)
class Plan:
    """What is done with one film. thorough: the methods that take longest too (maps.THOROUGH); judged: deletion,
    insertion and SRG of one token; controls: by name, models that cannot know what the film shows, whose maps are made
    as well; token_limit: so many tokens of a finding, the first ones."""

    thorough: bool
    judged: bool
    controls: Mapping[str, LoadedModel]
    mean_masks: Mapping[str, Float32Array]
    token_limit: int = 3


@dataclass(eq=False)
class FilmScores:
    """One film's numbers, as JSON keeps them.

    tokens: one entry for each certified token: finding, size, and by method its metrics; words, certified: tokens of
    the report, and how many of them are certified; specificity: by method, rank correlations of the maps of tokens of
    different findings; seconds, memory: by method, of the whole report, memory in MiB.
    """

    film: int
    words: int = 0
    certified: int = 0
    tokens: list[dict[str, Any]] = field(default_factory=list)
    specificity: dict[str, list[float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


def score_film(generator: Generator, synthetic: SyntheticFilm, width: int, height: int, plan: Plan) -> FilmScores:
    """Read one film, certify tokens of its report, and score every method's maps of them."""
    loaded = generator.loaded
    film, _ = film_of(synthetic, width, height)
    generation = generator.generate([film])
    prompt = generation.trace.provenance.asked
    ids = [token.token_id for token in generation.report.tokens]
    scores = FilmScores(synthetic.seed, words=len(ids))
    if not ids:
        return scores
    with loaded.lock:
        certificates = certify(loaded, synthetic, width, height, ids, prompt)
    writing = set(_outside_impression(generation.report))
    drawing = draw_film(synthetic, width, height)
    chosen: list[tuple[int, int]] = []
    for finding in range(len(synthetic.findings)):
        proven = [token for token in certificates.tokens(finding) if token in writing]
        scores.certified += len(proven)
        chosen += [(finding, token) for token in proven[: plan.token_limit]]
    if not chosen:
        return scores
    tokens = [token for _, token in chosen]
    made = token_maps(loaded, film, generation, tokens, thorough=plan.thorough)
    scores.seconds = {name: round(seconds, 4) for name, seconds in made.seconds.items()}
    scores.memory = {name: round(peak, 1) for name, peak in made.memory.items()}
    for place, (finding, token) in enumerate(chosen):
        mask = drawing.masks[finding]
        name = synthetic.findings[finding].name
        maps = {method: values[place] for method, values in made.maps.items()}
        maps |= _priors(film, mask, plan.mean_masks[name], next(iter(maps.values())).shape)
        entry: dict[str, Any] = {"token": token, "finding": name, "size": _size(mask)}
        entry["methods"] = {method: _against_mask(values, mask) for method, values in maps.items()}
        for method, values in maps.items():
            agreement = spearman(values, maps[EXACT]) if EXACT in maps else None
            if agreement is not None and method != EXACT:
                entry["methods"][method]["spearman"] = round(agreement, 4)
        if plan.judged and place == 0:
            _judge(loaded, film, prompt, ids, token, maps, entry)
        scores.tokens.append(entry)
    _specificity(chosen, made.maps, scores)
    masks = [drawing.masks[finding] for finding, _ in chosen]
    for control, other in plan.controls.items():
        _control(control, other, film, generation, tokens, masks, made.maps, scores)
    return scores


def _outside_impression(report: Report) -> list[int]:
    """Tokens outside the impression, which repeats what was written before it."""
    spans = [(s.start, s.end) for s in report.sections if is_impression(s.name)]
    return [t.index for t in report.tokens if not any(start <= t.start < end for start, end in spans)]


def _size(mask: BoolArray) -> str:
    cells = size_in_cells(mask)
    return next(name for limit, name in SIZES if cells < limit)


def _priors(
    film: Film, mask: BoolArray, mean_mask: Float32Array, grid: tuple[int, ...]
) -> dict[str, Float32Array]:
    coverage = cells_of(mask, *grid)
    return {
        "random": np.ones_like(coverage),
        "centre": centre_prior(*coverage.shape),
        "mean mask": on_grid(mean_mask, *coverage.shape),
        "Sobel": edge_prior(film, *coverage.shape),
        "ceiling": (coverage == coverage.max()).astype(np.float32),
    }


def _against_mask(values: Float32Array, mask: BoolArray) -> dict[str, Any]:
    """Pointing and masses on the grid, mIoU and CNR on SIDE x SIDE pixels."""
    coverage = cells_of(mask, *values.shape)
    touched = coverage >= TOUCHED
    pixels = cv2.resize(mask.astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0
    fine = upsample(values, SIDE, SIDE)
    contrast = cnr(fine, pixels)
    scores: dict[str, Any] = {
        "pointing": pointing(values, touched),
        "mass": mass(values, touched),
        "covered_mass": covered_mass(values, coverage),
        "miou_otsu": miou_otsu(fine, pixels),
        "iou_curve": [round(float(v), 4) for v in miou_curve(fine, pixels)],
    }
    if contrast is not None and np.isfinite(contrast):
        scores["cnr"] = contrast
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in scores.items()}


def _judge(
    loaded: LoadedModel,
    film: Film,
    prompt: Asked,
    ids: Sequence[int],
    token: int,
    maps: Mapping[str, Float32Array],
    entry: dict[str, Any],
) -> None:
    """Deletion, insertion and SRG of one token, cells replaced by a blank film's and a healthy one's."""
    with loaded.lock:
        judge = Judge(loaded, [film], prompt, ids, [token], swaps=swapped_films()[:1])
        for method, values in maps.items():
            curves = judge.curves(None if method == "random" else values)
            deletion, insertion, srg = (float(area.mean()) for area in curves.areas(judge.fractions))
            entry["methods"][method] |= {
                "deletion": round(deletion, 4),
                "insertion": round(insertion, 4),
                "srg": round(srg, 4),
            }


def _specificity(chosen: Sequence[tuple[int, int]], maps: Mapping[str, Float32Array], scores: FilmScores) -> None:
    """Rank correlation of the maps of tokens of different findings: low where a map speaks of its own token."""
    first = {finding: place for place, (finding, _) in reversed(list(enumerate(chosen)))}
    for method, values in maps.items():
        pairs = [spearman(values[a], values[b]) for a, b in combinations(first.values(), 2)]
        scores.specificity[method] = [round(pair, 4) for pair in pairs if pair is not None]


def _control(
    control: str,
    other: LoadedModel,
    film: Film,
    generation: Generation,
    tokens: Sequence[int],
    masks: Sequence[BoolArray],
    maps: Mapping[str, Float32Array],
    scores: FilmScores,
) -> None:
    """Maps of a model that cannot know, made to write the same report: rank correlation with the maps that are
    judged, and how well they point all the same."""
    ids = [token.token_id for token in generation.report.tokens]
    forced = Generator(other).force([film], ids, generation.trace.provenance.asked)
    theirs = token_maps(other, film, forced, tokens, thorough=EXACT in maps, coarse=False).maps
    for place, (entry, mask) in enumerate(zip(scores.tokens, masks, strict=True)):
        touched = cells_of(mask, *next(iter(theirs.values())).shape[1:]) >= TOUCHED
        for method, found in theirs.items():
            kept = entry["methods"][method]
            kept[f"{control} pointing"] = round(pointing(found[place], touched), 4)
            kept[f"{control} mass"] = round(mass(found[place], touched), 4)
            agreement = spearman(maps[method][place], found[place])
            if agreement is not None:
                kept[f"{control} rho"] = round(agreement, 4)
