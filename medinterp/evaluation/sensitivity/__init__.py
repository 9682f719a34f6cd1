"""Does an answer hold when the question is put in other words, or the film is changed a little? And do its maps?

`compare` asks one question in several ways and on changed films, `compare_reports` has the whole report written of
them, `compare_again` does either for a report that is there, `summarise` says how often many answers held. Results
are plain frozen dataclasses (`results`). Torch is loaded by what asks a model, not by the import.
"""

from __future__ import annotations

from medinterp.evaluation.sensitivity.again import compare_again
from medinterp.evaluation.sensitivity.asking import compare
from medinterp.evaluation.sensitivity.questions import QuestionGroup, read_csv, read_prompts
from medinterp.evaluation.sensitivity.reports import compare_reports
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison, comparison_from
from medinterp.evaluation.sensitivity.summary import summarise

__all__ = [
    "Comparison",
    "QuestionGroup",
    "ReportComparison",
    "compare",
    "compare_again",
    "compare_reports",
    "comparison_from",
    "read_csv",
    "read_prompts",
    "summarise",
]
