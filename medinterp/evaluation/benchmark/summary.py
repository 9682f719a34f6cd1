"""From films' scores to the benchmark's table: means with hierarchical bootstrap intervals, in strata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medinterp.evaluation.benchmark.film import PRIORS
from medinterp.evaluation.intervals import hierarchical_mean
from medinterp.evaluation.metrics import SHARES, best_share

TITLES = {
    "pointing": "pointing", "mass": "mass", "miou_otsu": "mIoU (Otsu)",
    "miou_tuned": "mIoU (tuned)", "cnr": "CNR", "srg": "SRG", "deletion": "deletion", "insertion": "insertion",
    "spearman": "ρ occlusion", "specificity": "ρ other finding", "seconds": "s a report", "memory": "MiB",
}  # fmt: skip
"""Columns of the table, the first two with their intervals. All but the last three are means over certified tokens."""
CONTROLS = {
    "randomised rho": "random weights: ρ", "randomised pointing": "pointing", "randomised mass": "mass",
    "shuffled rho": "shuffled reports: ρ", "shuffled pointing": "pointing", "shuffled mass": "mass",
}  # fmt: skip
"""Columns of the second table: maps of models that cannot know, ρ with those that are judged."""
BY_FILM = ("specificity", "seconds", "memory")
METRICS = (*(name for name in (*TITLES, *CONTROLS) if name not in BY_FILM), "covered_mass")
TUNING_SHARE = 0.1
"""Of the films with a method's maps, the first ones: thresholds of miou_tuned are chosen there."""
Films = Sequence[Mapping[str, Any]]
Token = Mapping[str, Any]


def summarise(results: Mapping[str, Films], *, seed: int = 0) -> dict[str, Any]:
    """Everything that the films say: by method, by finding and by size.

    results: by model its films' scores (benchmark.run). 95 % intervals: models, then films with all their tokens, are
    drawn with replacement.
    """
    rng = np.random.default_rng(seed)
    methods = _methods(results)
    shares = _tuned(results, methods)
    words = sum(film["words"] for films in results.values() for film in films)
    certified = sum(film["certified"] for films in results.values() for film in films)
    tokens = [token for films in results.values() for film in films for token in film["tokens"]]

    def table(kept: Callable[[Token], bool], metrics: Sequence[str]) -> dict[str, Any]:
        return {
            method: {metric: _mean(results, method, metric, shares, kept, rng) for metric in metrics}
            for method in methods
        }

    def stratum(key: str) -> dict[str, Any]:
        def of(name: str) -> Callable[[Token], bool]:
            return lambda token: bool(token[key] == name)

        counts = _counted(tokens, key)
        return {name: {"tokens": count, "methods": table(of(name), short)} for name, count in counts.items()}

    short = ("pointing", "mass", "covered_mass", "spearman")
    overall = table(lambda _: True, METRICS)
    for method in methods:
        for name in BY_FILM:
            nested = [[_listed(film[name].get(method, [])) for film in films] for films in results.values()]
            overall[method][name] = hierarchical_mean(nested, rng)
    return {
        "models": list(results),
        "films": max(len(films) for films in results.values()),
        "tokens_with": {
            metric: sum(any(metric in scores for scores in token["methods"].values()) for token in tokens)
            for metric in ("spearman", "srg", "randomised rho", "shuffled rho")
        },
        "certified_share": round(certified / words, 4) if words else None,
        "tokens": len(tokens),
        "tuned_shares": shares,
        "methods": overall,
        "findings": stratum("finding"),
        "sizes": stratum("size"),
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """The benchmark's tables in Markdown, maps and control models; the other intervals stand in the JSON."""
    found = summary["methods"]
    parts = [_table(found, TITLES)]
    controls = {column: title for column, title in CONTROLS.items() if any(_has(s, column) for s in found.values())}
    if controls:
        parts.append(_table({name: s for name, s in found.items() if _has(s, next(iter(controls)))}, controls))
    counts, share = summary["tokens_with"], 100 * (summary["certified_share"] or 0)
    parts.append(
        f"{summary['tokens']} certified tokens (at most three a finding) of {summary['films']} films, by "
        f"{len(summary['models'])} model(s); {share:.1f} % of all tokens are certified. "
        f"ρ occlusion, occlusion and gradient relevancy: {counts['spearman']} tokens; SRG, deletion, insertion: "
        f"{counts['srg']}; random weights: {counts['randomised rho']}; shuffled reports: {counts['shuffled rho']}.\n"
    )
    return "\n".join(parts)


def _has(scores: Mapping[str, Any], column: str) -> bool:
    return scores[column]["value"] is not None


def _table(found: Mapping[str, Any], titles: Mapping[str, str]) -> str:
    lines = ["| | " + " | ".join(titles.values()) + " |", "|---|" + "---|" * len(titles)]
    for method, scores in found.items():
        cells = [_cell(scores[column], column) for column in titles]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(found: Mapping[str, float | None], column: str) -> str:
    if found["value"] is None:
        return ""
    digits = {"seconds": 3, "memory": 0}.get(column, 2)
    between = f" ({found['low']:.2f} to {found['high']:.2f})" if column in ("pointing", "mass") else ""
    return f"{found['value']:.{digits}f}{between}"


def _listed(values: Any) -> list[float]:
    return list(values) if isinstance(values, list) else [values]


def _methods(results: Mapping[str, Films]) -> list[str]:
    """Methods in order of pointing, then what stands beside them."""
    points: dict[str, list[float]] = {}
    for films in results.values():
        for film in films:
            for token in film["tokens"]:
                for method, scores in token["methods"].items():
                    points.setdefault(method, []).append(scores["pointing"])
    measured = sorted((m for m in points if m not in PRIORS), key=lambda m: -float(np.mean(points[m])))
    return [*measured, *(prior for prior in PRIORS if prior in points)]


def _tuned(results: Mapping[str, Films], methods: Sequence[str]) -> dict[str, float]:
    curves: dict[str, list[Any]] = {method: [] for method in methods}
    for films in results.values():
        for method in methods:
            for film in films[: _tuning(films, method)]:
                kept = [token["methods"][method] for token in film["tokens"] if method in token["methods"]]
                curves[method] += [np.array(scores["iou_curve"]) for scores in kept]
    return {method: best_share(of, SHARES) for method, of in curves.items() if of}


def _tuning(films: Films, method: str) -> int:
    """How many films, from the first on, hold the tenth of the films with the method's maps."""
    having = [k for k, film in enumerate(films) if any(method in token["methods"] for token in film["tokens"])]
    return having[max(1, round(len(having) * TUNING_SHARE)) - 1] + 1 if having else 0


def _mean(
    results: Mapping[str, Films],
    method: str,
    metric: str,
    shares: Mapping[str, float],
    kept: Callable[[Token], bool],
    rng: np.random.Generator,
) -> dict[str, float | None]:
    def of(token: Token) -> list[float]:
        scores = token["methods"].get(method)  # what takes longest is made for the first films only
        return [] if scores is None else _value(scores, metric, shares, method)

    nested: list[list[list[float]]] = []
    for films in results.values():
        counted = films[_tuning(films, method) :] if metric == "miou_tuned" else films
        nested.append([[v for t in film["tokens"] if kept(t) for v in of(t)] for film in counted])
    return hierarchical_mean(nested, rng)


def _value(scores: Mapping[str, Any], metric: str, shares: Mapping[str, float], method: str) -> list[float]:
    if metric == "miou_tuned":
        return [scores["iou_curve"][SHARES.index(shares[method])]] if method in shares else []
    return [scores[metric]] if metric in scores else []


def _counted(tokens: Sequence[Token], key: str) -> dict[str, int]:
    names = sorted({token[key] for token in tokens})
    return {name: sum(token[key] == name for token in tokens) for name in names}
