"""Do maps lie where radiologists drew the finding? Scores at the film's pixels, on films of patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.errors import DatasetError, FilmError
from medinterp.evaluation.datasets.item import REPORT_NAMES, GroundingItem
from medinterp.evaluation.intervals import bootstrap_mean
from medinterp.evaluation.localisation import centre_prior
from medinterp.evaluation.metrics import SHARES, best_share, cnr, mass, miou_curve, miou_otsu, pointing
from medinterp.imaging import read_film
from medinterp.imaging.geometry import upsample
from medinterp.phantom.films import cells_of
from medinterp.relevancy import compute_maps, select_map
from medinterp.report import is_impression
from medinterp.types import BoolArray, Film, Float32Array, Generation, MapPack, Report

Explain = Callable[[Film], Generation]
"""A film in; out come the report that a model writes of it, its trace, and what methods that run on the model measured
(Generation.measured)."""
Force = Callable[[Film, str], Generation]
"""A film and a text in; the same out, of a report that holds the text word for word."""

METRICS = ("pointing", "mass", "miou_otsu", "miou_tuned", "cnr")
"""What is measured of every map."""
BASELINES = ("random", "centre", "mask on the grid")
"""What stands beside the methods: a map that says nothing, a guess that looks at nothing, and the best of the grid."""
_ASPECT_TOLERANCE = 0.01


@dataclass(frozen=True, eq=False)
class _Scored:
    """One map on one item: scores by metric (those that are defined), and the IoU at each of SHARES."""

    image: int
    label: str
    method: str
    scores: Mapping[str, float]
    curve: npt.NDArray[np.float64]


def evaluate_grounding(
    explain: Explain,
    items: Sequence[GroundingItem],
    methods: Sequence[str],
    *,
    force: Force | None = None,
    tuning: Sequence[GroundingItem] = (),
    progress: Callable[[int], None] | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Pointing, mass, mIoU and CNR of every method, over the items whose finding the model's report affirms or hedges.

    items: those of one film stand together (as the readers of `datasets` give them); tuning: items of other films,
    of the validation split, that thresholds are chosen on; where there are none, the first half of the films that
    are scored is for choosing and `miou_tuned` is of the second half alone. The threshold is a share of a map's own
    maximum, one for each method and label (of all labels, where a label was not among those for choosing), as in
    CheXlocalize (Saporta et al. 2022).

    An item with a phrase is scored on the phrase, teacher-forced, when `force` is given. Every other item is scored
    on the words by which the report names its finding without denying it: all outside the impression, or those in it
    where there are no others. An item without such words has no map: it is counted (`not_affirmed`) and not scored.
    The map is laid over the film at the mask's size. Beside the methods stand a random map, the film's centre, and the
    mask as the grid shows it, each cell's covered share.
    progress gets 1 for every item, those for tuning included. 95 % intervals from a bootstrap over films.

    Raises DatasetError for a film that cannot be read, or whose sides are not those of its mask (see `check_films`).
    """
    reader = _Reader(explain, methods, force, progress)
    chosen_on = list(reader.scored(tuning))
    reader.not_affirmed.clear()
    scored = list(reader.scored(items))
    order = sorted({one.image for one in scored})
    judged = set(order)
    if not tuning:
        first = set(order[: len(order) // 2])
        chosen_on, judged = [one for one in scored if one.image in first], judged - first
    shares = _Shares(chosen_on)
    names = (*methods, *BASELINES)
    rng = np.random.default_rng(seed)

    def table(of: Sequence[_Scored]) -> dict[str, Any]:
        return {
            name: {metric: bootstrap_mean(_by_film(of, name, metric, shares, judged), rng) for metric in METRICS}
            for name in names
        }

    labels = sorted({item.label for item in items})
    by_label = {label: [one for one in scored if one.label == label] for label in labels}
    return {
        "films": len({item.image for item in items}),
        "items": len(items),
        "scored": len(scored) // len(names),
        "not_affirmed": reader.not_affirmed.total(),
        "tuned_on": "validation films" if tuning else "the first half of the scored films",
        "methods": table(scored),
        "labels": {
            label: {
                "scored": len(of) // len(names),
                "not_affirmed": reader.not_affirmed[label],
                "thresholds": {name: shares.of(name, label) for name in names},
                "methods": table(of),
            }
            for label, of in by_label.items()
        },
    }


def affirming_tokens(report: Report, names: Iterable[str]) -> list[int]:
    """The tokens of every finding that has one of the names and is not denied; none when the report has none.

    Those outside the impression, or in it where there are no others. A hedge ("possible pneumonia") denies nothing:
    its words name the finding, and a map of them can be asked where it lies.
    """
    wanted = set(names)
    told = [finding for finding in report.findings if finding.status != "absent" and finding.name in wanted]
    outside = [finding for finding in told if not is_impression(finding.section)]
    words = {word for finding in outside or told for word in finding.word_indices}
    return sorted({token for word in words for token in report.words[word].token_indices})


def phrase_tokens(report: Report, phrase: str) -> list[int]:
    """The tokens of the words of a phrase that stands in the report; raises ValueError when it does not."""
    start = report.text.rfind(phrase)
    if start < 0:
        raise ValueError(f"the report does not hold the phrase {phrase!r}")
    stop = start + len(phrase)
    words = [word for word in report.words if word.start < stop and start < word.end]
    return sorted({token for word in words for token in word.token_indices})


@dataclass(eq=False)
class _Reader:
    """Reads each film once, and counts what its report does not affirm, by label."""

    explain: Explain
    methods: Sequence[str]
    force: Force | None
    progress: Callable[[int], None] | None

    def __post_init__(self) -> None:
        self.not_affirmed: Counter[str] = Counter()

    def scored(self, items: Iterable[GroundingItem]) -> Iterator[_Scored]:
        """The scores of every method and baseline, item after item."""
        for number, (path, of_film) in enumerate(groupby(items, key=lambda item: item.image)):
            film = _film_at(path)
            own: tuple[Report, Mapping[str, MapPack]] | None = None
            for item in of_film:
                _check_sides(film, item)
                if self.force is not None and item.phrase is not None:
                    report, packs = self._maps(self.force(film, item.phrase))
                    tokens = phrase_tokens(report, item.phrase)
                else:
                    report, packs = own = own or self._maps(self.explain(film))
                    tokens = affirming_tokens(report, REPORT_NAMES[item.label])
                if tokens:
                    yield from _scores(item, number, packs, tokens)
                else:
                    self.not_affirmed[item.label] += 1
                if self.progress is not None:
                    self.progress(1)

    def _maps(self, generation: Generation) -> tuple[Report, Mapping[str, MapPack]]:
        packs = compute_maps(generation.trace, self.methods, measured=generation.measured)
        return generation.report, packs


def _film_at(path: Path) -> Film:
    """The film of a file; raises DatasetError that names it."""
    try:
        return read_film(path.read_bytes())
    except (OSError, FilmError) as error:
        raise DatasetError(f"{path} cannot be read as a film: {error}") from error


def check_films(items: Iterable[GroundingItem]) -> None:
    """Read every film once, so that a long run does not end at a bad file; raises DatasetError as scoring would."""
    for path, of_film in groupby(items, key=lambda item: item.image):
        film = _film_at(path)
        for item in of_film:
            _check_sides(film, item)


def _check_sides(film: Film, item: GroundingItem) -> None:
    height, width = item.size
    if abs(film.width * height / (film.height * width) - 1.0) > _ASPECT_TOLERANCE:
        raise DatasetError(
            f"{item.image} has {film.width} x {film.height} pixels, its mask {width} x {height}: the film was cut or "
            "turned. Use the film as its data set gives it."
        )


def _scores(
    item: GroundingItem, number: int, packs: Mapping[str, MapPack], tokens: Sequence[int]
) -> Iterator[_Scored]:
    mask = item.mask
    grids: dict[str, Float32Array] = {name: select_map(pack, tokens).values for name, pack in packs.items()}
    rows, columns = next(iter(packs.values())).values.shape[1:]
    grids |= {"random": np.ones((rows, columns), dtype=np.float32), "centre": centre_prior(rows, columns)}
    grids |= {"mask on the grid": cells_of(mask, rows, columns)}
    for name, grid in grids.items():
        values = upsample(grid, *mask.shape)
        yield _Scored(number, item.label, name, _defined(values, mask), miou_curve(values, mask))


def _defined(values: Float32Array, mask: BoolArray) -> dict[str, float]:
    scores = {"pointing": pointing(values, mask), "mass": mass(values, mask), "miou_otsu": miou_otsu(values, mask)}
    contrast = cnr(values, mask)
    return scores if contrast is None else scores | {"cnr": contrast}


class _Shares:
    """The share of a map's maximum that was chosen for each method and label."""

    def __init__(self, chosen_on: Sequence[_Scored]) -> None:
        curves: dict[tuple[str, str | None], list[npt.NDArray[np.float64]]] = {}
        for one in chosen_on:
            for label in (one.label, None):
                curves.setdefault((one.method, label), []).append(one.curve)
        self._best = {key: best_share(of, SHARES) for key, of in curves.items()}

    def of(self, method: str, label: str) -> float | None:
        """That of the label, or of all labels; None when there was nothing to choose on."""
        return self._best.get((method, label), self._best.get((method, None)))


def _by_film(
    of: Sequence[_Scored], method: str, metric: str, shares: _Shares, judged: set[int]
) -> list[list[float]]:
    """The values of one metric of one method, film by film; films without one are left out."""
    films: dict[int, list[float]] = {}
    for one in of:
        if one.method != method:
            continue
        if metric == "miou_tuned":
            share = shares.of(method, one.label)
            if share is not None and one.image in judged:
                films.setdefault(one.image, []).append(float(one.curve[SHARES.index(share)]))
        elif metric in one.scores:
            films.setdefault(one.image, []).append(one.scores[metric])
    return list(films.values())
