"""Sensitivity results as aligned plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medinterp.evaluation.sensitivity.results import PARAPHRASE, Comparison, MapShift, ReportComparison, Said

_TEXT_WIDTH = 48
OTHER_ANSWER = "* this map belongs to another answer"
MARGIN = "margin: log p of the first answer over the likeliest other token where it is left or is nearest to it, nats"
LOGPROB = "log p: what the words that name the finding gain or lose on the changed film, nats"
BITS = "columns of methods: Jensen-Shannon divergence of the maps, bits (0 to 1)"


def comparison_table(comparison: Comparison) -> str:
    """A question's variants, one a line: what was asked or changed, the answer, margin, change, map shifts."""
    rows = [["", "answer", "", "margin", "change", *comparison.methods]]
    rows.append([f"{comparison.question}", comparison.answer, "", _margin(comparison.margin.nats), ""])
    for variant in comparison.variants:
        name = variant.question if variant.name == PARAPHRASE else variant.name
        if variant.name != PARAPHRASE and variant.question != comparison.question:
            name = f"{name}: {variant.question}"
        rows.append(
            [
                f"  {name}",
                variant.answer,
                "changed" if variant.changed else "",
                _margin(variant.margin.nats),
                f"{variant.margin_change:+.2f}",
                *map(_shift, variant.shifts),
            ]
        )
    lines = [_aligned(rows, text_columns=3)]
    if comparison.consistency is not None:
        count = sum(variant.name == PARAPHRASE for variant in comparison.variants)
        lines.append(f"same answer to {comparison.consistency:.0%} of {count} paraphrase(s)")
    return "\n".join(lines)


def report_table(comparison: ReportComparison) -> str:
    """A film's findings under each change, one a line."""
    rows = [["", "finding", "on the film", "on the changed film", "", "log p", *comparison.methods]]
    for variant in comparison.variants:
        if not variant.findings:
            rows.append([variant.name, "(none in either report)"])
        for index, finding in enumerate(variant.findings):
            rows.append(
                [
                    variant.name if index == 0 else "",
                    finding.name,
                    _said(finding.before),
                    _said(finding.after),
                    "" if finding.change == "same" else finding.change,
                    "" if finding.logprob_change is None else f"{finding.logprob_change:+.2f}",
                    *map(_shift, finding.shifts),
                ]
            )
    return _aligned(rows, text_columns=5)


def summary_table(summary: dict[str, Any]) -> str:
    """Rates over all groups with their 95 % intervals."""
    head = f"{summary['groups']} group(s) of questions on {summary['films']} film(s)"
    consistency = f"consistency over {summary['paraphrases']} paraphrase(s): {_rate(summary['consistency'])}"
    kinds = summary["variants"]
    methods = list(dict.fromkeys(name for kind in kinds.values() for name in kind["maps"]))
    rows = [["", "answers changed", "margin change", *methods]]
    for name, kind in kinds.items():
        shifts = [_rate(kind["maps"][method]["bits"], 3) for method in methods]
        rows.append([name, _rate(kind["changed"]), _rate(kind["margin_change"]), *shifts])
    return "\n".join([head, consistency, "", _aligned(rows, text_columns=1)])


def notes(shifts: Sequence[MapShift], *, margins: bool) -> str:
    """What the columns and marks mean, of those that there are."""
    told = [MARGIN if margins else LOGPROB]
    if shifts:
        told.append(BITS)
    if any(shift.other_answer for shift in shifts):
        told.append(OTHER_ANSWER)
    return "\n".join(told)


def _margin(nats: float) -> str:
    return f"{nats:.2f}"


def _shift(shift: MapShift) -> str:
    if shift.bits is None:
        return "-"
    return f"{shift.bits:.3f}{'*' if shift.other_answer else ''}"


def _said(said: Said | None) -> str:
    if said is None:
        return "-"
    place = " ".join(filter(None, (said.side, " and ".join(said.zones))))
    if said.status == "present":
        return place or "present"
    return f"uncertain, {place}" if place else "uncertain"


def _rate(rate: dict[str, float | None], digits: int = 2) -> str:
    if rate["value"] is None:
        return "-"
    if rate["low"] is None:
        return f"{rate['value']:.{digits}f}"
    return f"{rate['value']:.{digits}f} ({rate['low']:.{digits}f} to {rate['high']:.{digits}f})"


def _aligned(rows: Sequence[Sequence[str]], *, text_columns: int) -> str:
    """Rows of cells under each other: the first text_columns columns to the left, numbers to the right."""
    cells = [[" ".join(cell.split()) if cell.strip() == cell else cell for cell in row] for row in rows]
    cells = [[_short(cell) if column < text_columns else cell for column, cell in enumerate(row)] for row in cells]
    count = max(map(len, cells))
    padded = [[*row, *[""] * (count - len(row))] for row in cells]
    widths = [max(len(row[column]) for row in padded) for column in range(count)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in padded
    )


def _short(text: str) -> str:
    return text if len(text) <= _TEXT_WIDTH else f"{text[: _TEXT_WIDTH - 3]}..."
