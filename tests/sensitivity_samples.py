"""Comparisons made by hand, for tests of the HTTP API and of the page."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.evaluation.sensitivity.results import (
    PARAPHRASE,
    Comparison,
    FindingChange,
    MapShift,
    Margin,
    ReportComparison,
    ReportVariant,
    Said,
    Variant,
)
from medinterp.imaging.perturb import PERTURBATIONS

MARGIN = 8.89
MARGINS = {"noise": 8.79, "contrast": -2.4, "five_pixels": 8.89, "flip": 7.83, "crop": 9.04}
CHANGED = ("contrast",)
"""The changed film that gets another answer, and another report."""


def _shifts(
    methods: Sequence[str], bits: float, *, kept: float = 1.0, other_answer: bool = False
) -> tuple[MapShift, ...]:
    """The last of several methods has a map without a positive part."""
    last = len(methods) - 1
    return tuple(
        MapShift(name, None, None, other_answer)
        if at == last and at > 0
        else MapShift(name, bits, kept, other_answer)
        for at, name in enumerate(methods)
    )


def sample_comparison(
    questions: Sequence[str], methods: Sequence[str], perturbations: Sequence[str] | None, seed: int
) -> Comparison:
    """The first paraphrase has the same answer, the others have not; of the films `contrast` changes it."""
    names = tuple(PERTURBATIONS) if perturbations is None else tuple(perturbations)
    reworded = [
        Variant(
            name=PARAPHRASE,
            question=question,
            answer="No." if at else "Yes.",
            changed=at > 0,
            margin=Margin(-7.44 if at else 0.46, "Yes", "No"),
            margin_change=(-7.44 if at else 0.46) - MARGIN,
            shifts=_shifts(methods, 0.063 if at else 0.009, other_answer=at > 0),
        )
        for at, question in enumerate(questions[1:])
    ]
    on_films = [
        Variant(
            name=name,
            question=questions[0],
            answer="No." if name in CHANGED else "Yes.",
            changed=name in CHANGED,
            margin=Margin(MARGINS[name], "Yes", "No"),
            margin_change=MARGINS[name] - MARGIN,
            shifts=_shifts(methods, 0.42, kept=0.91 if name == "crop" else 1.0, other_answer=name in CHANGED),
        )
        for name in names
    ]
    return Comparison(
        film_sha256="ab" * 32,
        model_id="sample",
        model_revision="1",
        seed=seed,
        max_new_tokens=64,
        methods=tuple(methods),
        perturbations=names,
        question=questions[0],
        answer="Yes.",
        yes_no=True,
        margin=Margin(MARGIN, "Yes", "No"),
        consistency=sum(not one.changed for one in reworded) / len(reworded) if reworded else None,
        variants=(*reworded, *on_films),
    )


def sample_report_comparison(
    methods: Sequence[str], perturbations: Sequence[str] | None, seed: int
) -> ReportComparison:
    """Two findings, the same on every film but `contrast`, where nearly each kind of change is found."""
    names = tuple(PERTURBATIONS) if perturbations is None else tuple(perturbations)
    left, upper, mid, base = (
        Said("present", "left", zones) for zones in ((), ("upper",), ("mid",), ("lower",))
    )
    high, somewhere = Said("present", None, ("high",)), Said("present", None, ())
    doubted = Said("uncertain", "left", ("lower",))
    same = (
        FindingChange("pleural effusion", left, left, "same", -0.02, _shifts(methods, 0.004)),
        FindingChange("nodule", upper, upper, "same", -0.11, _shifts(methods, 0.012)),
    )
    other = (
        FindingChange("pleural effusion", left, None, "gone", -6.3, ()),
        FindingChange("nodule", upper, mid, "moved", -1.7, _shifts(methods, 0.31, other_answer=True)),
        FindingChange("atelectasis", base, doubted, "hedged", -2.4, _shifts(methods, 0.15, other_answer=True)),
        FindingChange("cardiomegaly", None, somewhere, "new", None, ()),
        FindingChange("tube", high, high, "same", 0.0, _shifts(methods, 0.002)),
    )
    variants = [
        ReportVariant(
            name,
            f"PLEURA: As {name} shows it.",
            name in CHANGED,
            () if name == "noise" else other if name in CHANGED else same,
        )
        for name in names
    ]
    return ReportComparison(
        film_sha256="ab" * 32,
        model_id="sample",
        model_revision="1",
        seed=seed,
        max_new_tokens=512,
        methods=tuple(methods),
        perturbations=names,
        prompt="Describe the film.",
        report="PLEURA: Left effusion.",
        variants=tuple(variants),
    )
