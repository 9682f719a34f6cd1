"""Is a finding denied? NegEx (Chapman et al. 2001), scoped to the clause."""

from __future__ import annotations

import re

from medinterp.report.clauses import Span

_NT = r"\b\w+n['’]t\b"  # isn't, don't, hasn't
# Look like a negation and are none; what they cover is taken out before the search.
_PSEUDO = re.compile(
    r"\bno\s+(?:significant\s+|substantial\s+|appreciable\s+|interval\s+)*(?:change|increase|decrease|improvement)\b"
    r"(?:\s+(?:in|of|since|from))?|\bnot\s+only\b|\bwithout\s+(?:significant\s+|interval\s+)*change\b|"
    rf"(?:\b(?:cannot|not)|{_NT})\s+(?:be\s+)?(?:entirely\s+|completely\s+|definitely\s+)?"
    r"(?:excluded?|ruled?\s+out)\b|\bnot\s+(?:significantly\s+)?changed\b|\bno\s+longer\s+(?:small|mild)\b|"
    rf"(?:\bnot|{_NT})\s+(?:yet\s+|fully\s+|completely\s+|entirely\s+)?"
    r"(?:resolved|cleared|changed|improved|disappeared|been\s+(?:excluded|ruled\s+out|removed))\b",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    rf"{_NT}|"
    r"\b(?:no|without|neither|nor|not|never|none|denies|den(?:y|ied)|absence\s+of|absent|free\s+of|free\s+from|"
    r"clear\s+of|negative\s+for|lack\s+of|lacks|resolution\s+of|resolved|removal\s+of|removed|rather\s+than|"
    r"ruled?\s+out|exclud(?:e|es|ing)|fails?\s+to\s+(?:show|reveal|demonstrate))\b",
    re.IGNORECASE,
)
_SEEN = (
    r"(?:seen|identified|visible|visuali[sz]ed|present|evident|demonstrated|appreciated|detected|noted|apparent|found|"
    r"observed|suspected|suggested|shown|recognised|recognized)"
)
_AFTER = re.compile(
    rf"(?:\bnot|{_NT})\s+(?:\w+\s+)?{_SEEN}\b|\bno\s+longer\b|\b(?:is|are|was|were)\s+(?:\w+\s+)?absent\b|"
    r"\b(?:has|have|had)\s+(?:now\s+)?(?:\w+ly\s+)?(?:resolved|cleared|disappeared|been\s+removed|been\s+excluded|"
    r"been\s+ruled\s+out)\b|\b(?:is|are|was|were)\s+(?:now\s+)?(?:resolved|removed|excluded|ruled\s+out|gone)\b|"
    r"\bunlikely\b|:[\s*_]*(?:none|no|absent|negative|resolved)\b(?!\s+(?:on|in|at)\b|-)|"
    # "effusion, none" and "effusion, no." deny what stands before; ", no pneumothorax" what stands behind.
    r",[\s*_]*(?:(?:none|absent|negative|resolved)\b(?!\s+(?:on|in|at)\b|-)|no(?=[\s*_]*(?:[.;,]|$)))",
    re.IGNORECASE,
)
# A negation does not reach over these to a later finding.
_STOP = re.compile(
    r":|\b(?:after|following|status\s+post|due\s+to|secondary\s+to|because|which)\b|"
    # "No opacity to suggest pneumonia" denies both; what is suggested behind a comma is another matter.
    r",[^,]*\b(?:suggest\w*|consistent\s+with)\b|"
    r"\bwith\s+(?!no\b)(?=an?\b|(?:new|small|moderate|large|mild|tiny|minimal|bilateral|left|right|multiple|several|"
    r"scattered|diffuse|patchy|dense|extensive|numerous|faint|subtle|focal|old|healed|calcified)\b)|"
    # "No effusion seen, dense nodule": the denial is over with its verb.
    rf"\b{_SEEN}\s*,(?!\s*(?:and|or|nor)\b)",
    re.IGNORECASE,
)
_SIZED = re.compile(
    r",\s*(?=(?:new\s+|persistent\s+|stable\s+|unchanged\s+)?(?:tiny|small|moderate|large|mild|minimal|marked|massive)\b)",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"\b(?:not|no\s+longer)\b", re.IGNORECASE)
_OR = re.compile(r"\b(?:n?or)\b", re.IGNORECASE)
# What may stand between findings of one list that share a negation behind them.
_LIST = re.compile(
    r"[\s,/]*(?:(?:and|or|the|any|a|an|left|right|upper|lower|mid|\w*ly|small|large)[\s,/]*)*", re.IGNORECASE
)


def is_denied(text: str, clause: Span, mention: Span, mentions: tuple[Span, ...]) -> bool:
    """Whether the clause denies the finding named at mention; mentions: all of the clause, in order."""
    start, end = clause
    plain = text[:start] + _PSEUDO.sub(lambda match: "~" * len(match.group()), text[start:end]) + text[end:]
    if _INSIDE.search(plain, *mention):
        return True
    return _before(plain, clause, mention) or _after(plain, clause, mention, mentions)


def _before(plain: str, clause: Span, mention: Span) -> bool:
    for match in _BEFORE.finditer(plain, clause[0], mention[0]):
        between = (match.end(), mention[0])
        if _STOP.search(plain, *between):
            continue
        sized = _SIZED.search(plain, *between)
        # "No pneumothorax, small effusion." but "No consolidation, large effusion or pneumothorax."
        if sized and not _OR.search(plain, sized.end(), clause[1]):
            continue
        return True
    return False


def _after(plain: str, clause: Span, mention: Span, mentions: tuple[Span, ...]) -> bool:
    match = _AFTER.search(plain, mention[1], clause[1])
    if match is None:
        return False
    position = mention[1]
    for later in mentions:
        if mention[1] <= later[0] < match.start():
            if not _LIST.fullmatch(plain, position, later[0]):
                return False
            position = later[1]
    return True
