"""Given reports that do not fit their film, by what the model would hardly have written.

A film's score is the sum over its report's words of -log p, nats, each word up to LARGEST; sentences about zones where
the model is blind are left out, since every report is unlikely there. A report does not fit where its score lies above
Tukey's fence (upper quartile + FENCE interquartile ranges, Exploratory Data Analysis, 1977) of the scores' logarithms:
those of this audit's own reports, so that a style which the model finds unlikely throughout is no misfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.evidence import Evidence
from medinterp.types import BoolArray

LARGEST = 12.0
FENCE = 2.0


@dataclass(frozen=True, eq=False)
class Misfits:
    """score: nats of every film's report, float64 [films]; fence: the score above which one does not fit; films: rows of
    Films that do not fit, the worst first; worst: of each the sentence that fits least."""

    score: npt.NDArray[np.float64]
    fence: float
    films: list[int]
    worst: list[str]


def misfits(evidence: Evidence, skipped: BoolArray) -> Misfits:
    """The reports that do not fit; skipped: sentences that say nothing of it (see `blind.blind_sentences`)."""
    words, films = evidence.words, evidence.films
    counted = np.clip(np.nan_to_num(words.surprise), 0.0, LARGEST) * ~skipped[words.sentence]
    score = np.bincount(words.film, counted, len(films))
    logs = np.log1p(score)
    low, high = np.quantile(logs, [0.25, 0.75]) if len(logs) else (0.0, 0.0)
    fence = float(np.expm1(high + FENCE * (high - low)))
    found = np.flatnonzero(score > fence)
    found = found[np.argsort(-score[found], kind="stable")]
    by_sentence = np.bincount(words.sentence, counted)
    return Misfits(score, fence, found.tolist(), [_worst(evidence, int(film), by_sentence) for film in found])


def _worst(evidence: Evidence, film: int, by_sentence: npt.NDArray[np.float64]) -> str:
    """The sentence of a film's report that the model finds least likely."""
    from medinterp.audit.analysis.evidence import sentence_starts

    mine = np.unique(evidence.words.sentence[evidence.words.film == film])
    worst = int(mine[np.argmax(by_sentence[mine])])
    text = evidence.films.reports[film]
    starts = [*sentence_starts([text])[0].tolist(), len(text)]
    at = worst - int(mine[0])
    return text[starts[at] : starts[at + 1]].strip()
