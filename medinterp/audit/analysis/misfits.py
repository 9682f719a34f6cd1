"""Given reports that do not fit their film, by what the model would hardly have written.

A film's score: the sum of -log p (nats) of its report's n words, each up to LARGEST, less n times the mean over all
words of the audit, in standard deviations of such a sum, sqrt(n) times that of one word. Sentences about zones where
the model is blind are left out: every report is unlikely there. A report does not fit above Tukey's fence (upper
quartile + FENCE interquartile ranges of the scores; Exploratory Data Analysis, 1977), and never below LEAST: a style
that the model finds unlikely throughout is no misfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.evidence import Evidence, sentence_starts
from medinterp.types import BoolArray

LARGEST = 12.0
FENCE, LEAST = 3.0, 1.5


@dataclass(frozen=True, eq=False)
class Misfits:
    """Reports that do not fit.

    score: of every film, float64 [films]; fence: the score above which a report does not fit; films: rows of Films, the
    worst first; worst: of each the sentence that fits least.
    """

    score: npt.NDArray[np.float64]
    fence: float
    films: list[int]
    worst: list[str]


def misfits(evidence: Evidence, skipped: BoolArray) -> Misfits:
    """The reports that do not fit; skipped: sentences that say nothing of it (see `blind.blind_sentences`)."""
    words, films = evidence.words, len(evidence.films)
    kept = ~skipped[words.sentence]
    surprise = np.clip(np.nan_to_num(words.surprise), 0.0, LARGEST).astype(np.float64)
    mean, deviation = (float(surprise[kept].mean()), float(surprise[kept].std())) if kept.any() else (0.0, 0.0)
    number = np.bincount(words.film, kept, films)
    above = np.bincount(words.film, surprise * kept, films) - number * mean
    scale = np.sqrt(np.maximum(number, 1.0)) * deviation
    score = above / scale if deviation > 0 else np.zeros(films)
    low, high = np.quantile(score, [0.25, 0.75])
    fence = max(LEAST, float(high + FENCE * (high - low)))
    found = np.flatnonzero(score > fence)
    found = found[np.argsort(-score[found], kind="stable")]
    by_sentence = np.bincount(words.sentence, surprise * kept).astype(np.float64)
    return Misfits(score, fence, found.tolist(), [_worst(evidence, int(film), by_sentence) for film in found])


def _worst(evidence: Evidence, film: int, by_sentence: npt.NDArray[np.floating]) -> str:
    """The sentence of a film's report that the model finds least likely."""
    text = evidence.films.reports[film]
    starts = [*sentence_starts([text])[0].tolist(), len(text)]
    first = int(evidence.sentence_of_film[film])
    at = int(np.argmax(by_sentence[first : first + len(starts) - 1]))
    return text[starts[at] : starts[at + 1]].strip()
