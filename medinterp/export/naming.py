"""How a finding is called, and which tokens wrote its name."""

from __future__ import annotations

from medinterp.types import Finding, Report


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
