"""What was measured of the language as plain text, and the texts that were read wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medinterp.evaluation.language.judging import JudgedText
from medinterp.evaluation.language.scores import BY_NAME, RATES
from medinterp.evaluation.language.wanted import WantedFinding
from medinterp.types import Finding

LABELS = {
    "precision": "precision, present or uncertain",
    "recall": "recall, present or uncertain",
    "recall_with_absent": "recall, with absent",
    "status_right": "status right",
    "side_right": "side right",
    "zones_right": "zones right",
    "change_right": "change right",
    "mentions_found": "mentions found",
    "roles_right": "roles right",
}


def score_table(result: Mapping[str, Any]) -> str:
    """The rates with their intervals, one a line; below them the names that have errors."""
    lines = [
        f"{result['texts']} text(s), {result['texts_wrong']} with an error; {result['findings']} finding(s) wanted"
    ]
    rows = [["", "value", "95 % interval", "of"]]
    rows += [[LABELS[name], *_share(result[name])] for name in RATES]
    false = result["false_findings"]
    rows.append(["false findings in 100 texts", *(_number(false, 1, 1)), f"{false['of']} text(s) that want none"])
    lines += ["", _aligned(rows)]
    sentences = result["sentences"]
    counts = f"{sentences['read']} read, {sentences['other']} not about findings, {sentences['unread']} unread"
    lines += ["", f"sentences: {counts}"]
    if result["names"]:
        named = [
            [name, str(counts["wanted"]), *(str(counts[what]) for what in BY_NAME)]
            for name, counts in result["names"].items()
        ]
        lines += ["", _aligned([["", "wanted", "missed", "invented", "status wrong", "side wrong"], *named])]
    return "\n".join(lines)


def error_list(judged: Sequence[JudgedText], count: int) -> str:
    """The first `count` texts that were read wrong: the text, what is wanted, what was read, what is wrong."""
    wrong = [(one, errors) for one in judged if (errors := list(one.errors()))]
    return "\n\n".join(_block(one, errors) for one, errors in wrong[:count])


def _block(one: JudgedText, errors: Sequence[tuple[str, str]]) -> str:
    name = f" ({one.wanted.id})" if one.wanted.id else ""
    wanted = [*map(_wanted, one.wanted.findings), *(f"{each.name} ({each.role})" for each in one.wanted.mentions)]
    read = [*map(_read, one.report.findings), *(f"{each.name} ({each.role})" for each in one.report.mentions)]
    facts = {
        "text": one.wanted.text.strip().replace("\n", "\n          "),
        "wanted": "; ".join(wanted) or "nothing",
        "read": "; ".join(read) or "nothing",
        "wrong": "; ".join(f"{name}: {what}" for name, what in errors),
    }
    return "\n".join([f"line {one.wanted.line}{name}", *(f"  {fact + ':':<8}{told}" for fact, told in facts.items())])


def _wanted(finding: WantedFinding) -> str:
    """What is asked of it, and nothing else."""
    side = [finding.side or "no side"] if "side" in finding.asked else []
    zones = [" and ".join(finding.zones) or "no zone"] if "zones" in finding.asked else []
    change = [finding.change or "no change"] if "change" in finding.asked else []
    return " ".join([finding.status, ", ".join([finding.name, *side, *zones, *change])])


def _read(finding: Finding) -> str:
    told = filter(None, (finding.name, finding.side, " and ".join(finding.zones), finding.change))
    return f"{finding.status} {', '.join(told)}"


def _share(rate: Mapping[str, Any]) -> list[str]:
    return [*_number(rate, 100, 1, " %"), str(rate["of"])]


def _number(rate: Mapping[str, Any], times: float, digits: int, unit: str = "") -> list[str]:
    if rate["value"] is None:
        return ["-", ""]
    value, low, high = (
        None if rate[end] is None else f"{times * rate[end]:.{digits}f}" for end in ("value", "low", "high")
    )
    return [f"{value}{unit}", "" if low is None else f"{low} to {high}"]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells under each other: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
