"""The findings of a report as chips: one for each, and one for all that a normal statement denies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from medinterp.types import Finding, FindingStatus, Report

STATUSES: tuple[FindingStatus, ...] = ("present", "uncertain", "absent")
"""What is there comes first: of the rest there is always more."""


@dataclass(frozen=True)
class Chip:
    """title: what it says; description: the hedge of an uncertain finding, or nothing; tokens: of the words that it
    selects, none for a text that no model wrote."""

    title: str
    status: FindingStatus
    description: str
    tokens: tuple[int, ...]


def chips_of(report: Report) -> tuple[Chip, ...]:
    """What is present first, each kind in the order of the text; those that say the same name their section."""
    groups = sorted(_groups(report.findings), key=lambda group: STATUSES.index(group[0].status))
    titles = [_group_title(report, group) for group in groups]
    times = Counter(titles)
    return tuple(
        Chip(
            f"{title} ({group[0].section})" if times[title] > 1 and group[0].section else title,
            group[0].status,
            _hedge(report, group[0]),
            tokens_of(report, group[0]),
        )
        for title, group in zip(titles, groups, strict=True)
    )


def chips_html(report: Report) -> str:
    """The chips as buttons; their selections follow the words' (see `page`)."""
    pieces = []
    for place, chip in enumerate(chips_of(report)):
        about = f' title="{escape(chip.description)}"' if chip.description else ""
        name = escape(chip.title)
        if chip.tokens:
            selection = len(report.words) + place
            button = f'<button type="button" class="chip {chip.status}"{about} aria-pressed="false"'
            pieces.append(f'{button} data-selection="{selection}">{name}</button>')
        else:
            pieces.append(f'<span class="chip {chip.status}"{about}>{name}</span>')
    return "\n".join(pieces)


def finding_title(finding: Finding) -> str:
    """For example "nodule, left upper", "nodule?, left upper", "no nodule, left", "pleural effusion (larger)"."""
    place = " ".join(filter(None, (finding.side, " and ".join(finding.zones))))
    no, doubt = "no " * (finding.status == "absent"), "?" * (finding.status == "uncertain")
    change = f" ({finding.change})" if finding.change else ""
    return f"{no}{finding.name}{doubt}{', ' if place else ''}{place}{change}"


def tokens_of(report: Report, finding: Finding) -> tuple[int, ...]:
    """The indices of the tokens that wrote a finding's name; none for a text that no model wrote."""
    words = [report.words[index] for index in finding.word_indices]
    return tuple(sorted({token for word in words for token in word.token_indices}))


def _groups(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Absences that one normal statement tells stand together, every other finding alone."""
    groups: dict[tuple[int, int, int], list[Finding]] = {}
    for finding in findings:
        alone = finding.index if finding.status != "absent" else -1
        groups.setdefault((finding.start, finding.end, alone), []).append(finding)
    return list(groups.values())


def _group_title(report: Report, group: Sequence[Finding]) -> str:
    """Of several: the statement, and what it denies."""
    if len(group) == 1:
        return finding_title(group[0])
    statement = " ".join(report.text[group[0].start : group[0].end].split())
    if not statement[1:2].isupper():  # no acronym
        statement = statement[:1].lower() + statement[1:]
    sides = {finding.side for finding in group}
    side = next(iter(sides)) if len(sides) == 1 else None
    if side in ("left", "right") and side not in statement:
        statement += f", {side}"  # the heading said it
    return f"{statement}: {', '.join(f'no {finding.name}' for finding in group)}"


def _hedge(report: Report, finding: Finding) -> str:
    if finding.status != "uncertain":
        return ""
    if finding.hedge is None:
        return "hedged"
    return f"hedged: {' '.join(report.text[slice(*finding.hedge)].split())}"
