"""How often the language of texts is read right, with 95 % intervals from a bootstrap over texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medinterp.evaluation.intervals import bootstrap_mean, bootstrap_rate
from medinterp.evaluation.language.judging import JudgedText, affirmed, checks

BY_NAME = ("missed", "invented", "status", "side")
"""The errors that are counted by name."""
Rate = dict[str, float | int | None]


def _precision(one: JudgedText) -> list[float]:
    read = [(want, got) for want, got in one.findings if got is not None and affirmed(got)]
    return [float(want is not None and affirmed(want)) for want, _ in read]


def _recall(one: JudgedText, *, with_absent: bool = False) -> list[float]:
    wanted = [(want, got) for want, got in one.findings if want is not None and (with_absent or affirmed(want))]
    return [float(got is not None and affirmed(got) == affirmed(want)) for want, got in wanted]


def _right(what: str) -> Callable[[JudgedText], list[float]]:
    def of(one: JudgedText) -> list[float]:
        paired = [checks(want, got) for want, got in one.findings if want is not None and got is not None]
        return [float(right[what]) for right in paired if what in right]

    return of


def _mentions_found(one: JudgedText) -> list[float]:
    return [float(got is not None) for want, got in one.mentions if want is not None]


def _roles_right(one: JudgedText) -> list[float]:
    paired = [(want, got) for want, got in one.mentions if want is not None and got is not None]
    return [float(want.role == got.role) for want, got in paired]


RATES: Mapping[str, Callable[[JudgedText], list[float]]] = {
    "precision": _precision,
    "recall": _recall,
    "recall_with_absent": lambda one: _recall(one, with_absent=True),
    "status_right": _right("status"),
    "side_right": _right("side"),
    "zones_right": _right("zones"),
    "change_right": _right("change"),
    "mentions_found": _mentions_found,
    "roles_right": _roles_right,
}
"""For each rate a text's values, 0 or 1."""


def score(judged: Sequence[JudgedText], *, seed: int = 0) -> dict[str, Any]:
    """Counts and rates over all texts; a rate is {"value", "low", "high", "of"}, None where there is nothing to count.

    precision, recall: of findings that are present or uncertain, by name and affirmed or not; recall_with_absent: of
    all that are wanted. status_right, side_right, zones_right, change_right: of the paired findings, the last three
    where they are asked for. mentions_found, roles_right: of the wanted mentions, and of those found. false_findings:
    present or uncertain ones in 100 texts that want none, over `texts_without_findings` of them. sentences: how many
    were read, are not about findings, or are unread. names: errors by name, the worst first.
    """
    rng = np.random.default_rng(seed)
    free = [one for one in judged if not any(map(affirmed, one.wanted.findings))]
    sentences = Counter(sentence.reading for one in judged for sentence in one.report.sentences)
    return {
        "texts": len(judged),
        "texts_wrong": sum(any(True for _ in one.errors()) for one in judged),
        "findings": sum(len(one.wanted.findings) for one in judged),
        **{name: _rate([of(one) for one in judged], rng) for name, of in RATES.items()},
        "texts_without_findings": len(free),
        "false_findings": _false_findings(free, rng),
        "sentences": {reading: sentences[reading] for reading in ("read", "other", "unread")},
        "names": _names(judged),
    }


def _rate(by_text: Sequence[Sequence[float]], rng: np.random.Generator) -> Rate:
    filled = [values for values in by_text if values]
    return {**_with_interval(bootstrap_rate(filled, rng), len(filled)), "of": sum(map(len, filled))}


def _false_findings(free: Sequence[JudgedText], rng: np.random.Generator) -> Rate:
    counts = [[float(sum(got is not None and affirmed(got) for _, got in one.findings))] for one in free]
    # Where there is none at all, the interval's end is that of the share of texts with one.
    found = (bootstrap_mean if any(count for (count,) in counts) else bootstrap_rate)(counts, rng)
    hundred = {name: None if value is None else round(100 * value, 2) for name, value in found.items()}
    return {**_with_interval(hundred, len(counts)), "of": len(counts)}


def _with_interval(rate: dict[str, float | None], texts: int) -> Rate:
    """One text has no interval."""
    return {**rate} if texts > 1 else {**rate, "low": None, "high": None}


def _names(judged: Sequence[JudgedText]) -> dict[str, dict[str, int]]:
    wanted = Counter(finding.name for one in judged for finding in one.wanted.findings)
    errors = Counter(error for one in judged for error in one.errors() if error[1] in BY_NAME)
    total: Counter[str] = Counter()
    for (name, _), count in errors.items():
        total[name] += count
    return {
        name: {"wanted": wanted[name], **{what: errors[name, what] for what in BY_NAME}}
        for name in sorted(total, key=lambda name: (-total[name], name))
    }
