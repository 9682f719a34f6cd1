"""The comparison of a report that is there: its film, its prompt and its length are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from medinterp.errors import ReportTextError, SelectionError
from medinterp.evaluation.sensitivity.asking import compare
from medinterp.evaluation.sensitivity.reports import compare_reports
from medinterp.evaluation.sensitivity.results import Comparison, ReportComparison
from medinterp.imaging.perturb import PERTURBATIONS, get_perturbations
from medinterp.types import Explanation

if TYPE_CHECKING:
    from medinterp.model import Generator


def compare_again(
    generator: Generator,
    explanation: Explanation,
    questions: Sequence[str] = (),
    *,
    methods: Sequence[str] | None = None,
    perturbations: Sequence[str] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Comparison | ReportComparison:
    """Questions about a report's film (see `compare`); without any the whole report (see `compare_reports`).

    methods: None for the report's first; perturbations: names, None for all of them; progress: gets how many readings
    are done, and how many there are. The whole report is written again with its own prompt and token limit.
    Raises what those two do, and before the model is asked PromptError, SelectionError, the latter also for a report of
    two films, and ReportTextError for a whole report that was given: the model would write another one.
    """
    from medinterp.model.prompt import check_prompt

    if explanation.prior is not None:
        raise SelectionError("a report of two films cannot be compared: only one of them would be changed")
    if explanation.provenance.given and not questions:
        raise ReportTextError(
            "this report was given, and the model's own is another one: for whole reports read the film without "
            "`report`; questions can be asked of this one"
        )
    for question in questions:
        check_prompt(generator.loaded.processor.tokenizer, question)
    changes = get_perturbations(tuple(PERTURBATIONS) if perturbations is None else perturbations)
    chosen = (next(iter(explanation.packs)),) if methods is None else tuple(methods)
    of = max(len(questions), 1) + len(changes)
    done = 0

    def one_more(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, of)

    if questions:
        return compare(
            generator,
            explanation.film,
            questions,
            methods=chosen,
            perturbations=changes,
            seed=seed,
            progress=one_more,
            cancelled=cancelled,
        )
    return compare_reports(
        generator,
        explanation.film,
        prompt=explanation.provenance.asked,
        methods=chosen,
        perturbations=changes,
        seed=seed,
        max_new_tokens=explanation.provenance.max_new_tokens,
        progress=one_more,
        cancelled=cancelled,
    )
