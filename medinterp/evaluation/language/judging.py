"""What is wanted of a text beside what was read in it, finding by finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from medinterp.evaluation.language.assignment import best_pairs
from medinterp.evaluation.language.wanted import WantedFinding, WantedMention, WantedText
from medinterp.types import Finding, Mention, Report

FindingPair = tuple[WantedFinding | None, Finding | None]
MentionPair = tuple[WantedMention | None, Mention | None]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Wanted = TypeVar("Wanted", bound=_Named)
Read = TypeVar("Read", bound=_Named)


@dataclass(frozen=True)
class JudgedText:
    """A text as it was read; findings, mentions: what is wanted beside what was read, None where either is missing."""

    wanted: WantedText
    report: Report
    findings: tuple[FindingPair, ...]
    mentions: tuple[MentionPair, ...]

    def errors(self) -> Iterator[tuple[str, str]]:
        """Each error as a name and what is wrong: missed, invented, or what of ASKED, the status or the role.

        An absence or a mention that nobody asked for is no error.
        """
        for want, got in self.findings:
            if want is None:
                if got is not None and affirmed(got):
                    yield got.name, "invented"
            elif got is None:
                yield want.name, "missed"
            else:
                yield from ((want.name, what) for what, right in checks(want, got).items() if not right)
        for named, mention in self.mentions:
            if named is not None and mention is None:
                yield named.name, "mention missed"
            elif named is not None and mention is not None and named.role != mention.role:
                yield named.name, "role"


def judge(texts: Iterable[WantedText], read: Callable[[str], Report]) -> list[JudgedText]:
    """Every text read, and paired with what is wanted of it. read: a text in, its report out (`report.read_report`).

    Within a text, findings of one name are paired so that most of status, side and zones agree.
    """
    judged = []
    for one in texts:
        report = read(one.text)
        findings = _paired(one.findings, report.findings, _agreement)
        mentions = _paired(one.mentions, report.mentions, lambda want, got: int(want.role == got.role))
        judged.append(JudgedText(one, report, findings, mentions))
    return judged


def affirmed(finding: WantedFinding | Finding) -> bool:
    """Present or uncertain."""
    return finding.status != "absent"


def checks(want: WantedFinding, got: Finding) -> dict[str, bool]:
    """Whether the status, and what else is asked for, is right."""
    right = {
        "status": want.status == got.status,
        "side": want.side == got.side,
        "zones": set(want.zones) == set(got.zones),
        "change": want.change == got.change,
    }
    return {what: right[what] for what in right if what == "status" or what in want.asked}


def _agreement(want: WantedFinding, got: Finding) -> int:
    """How well two findings of one name go together: status, side and zones first, what else agrees after that."""
    right = checks(want, got)
    most = sum(right.get(what, False) for what in ("status", "side", "zones"))
    return 100 * most + 10 * (affirmed(want) == affirmed(got)) + right.get("change", False)


def _paired(
    wanted: Sequence[Wanted], read: Sequence[Read], agreement: Callable[[Wanted, Read], int]
) -> tuple[tuple[Wanted | None, Read | None], ...]:
    """By name; what is wanted in its order, then what was read and is left over."""
    partner: dict[int, int] = {}
    for name in dict.fromkeys(one.name for one in wanted):
        mine = [place for place, one in enumerate(wanted) if one.name == name]
        its = [place for place, one in enumerate(read) if one.name == name]
        scores = [[agreement(wanted[one], read[other]) for other in its] for one in mine]
        partner |= {mine[row]: its[column] for row, column in best_pairs(scores)}
    pairs: list[tuple[Wanted | None, Read | None]] = [
        (one, read[partner[place]] if place in partner else None) for place, one in enumerate(wanted)
    ]
    left = set(range(len(read))) - set(partner.values())
    return (*pairs, *((None, read[place]) for place in sorted(left)))
