"""What a report says of findings: named, affirmed, hedged or denied, where, and changed how."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from medinterp.report.changes import changes_of
from medinterp.report.clauses import Sentence, Span, read_sentence, sentence_spans
from medinterp.report.lexicon import lexicon
from medinterp.report.normal import normal_statements
from medinterp.report.places import implies, places_of
from medinterp.report.roles import roles_of
from medinterp.report.scope import judge
from medinterp.report.sections import find_sections, role_of, section_at, status_of, subject_of
from medinterp.report.tables import word_set
from medinterp.report.tokens import Token
from medinterp.report.words import find_words
from medinterp.types import Finding, Mention, MentionRole, Section, SentenceReading, Word
from medinterp.types import Sentence as ReadSentence

# Inside a name ("fracture of a left mid rib", "heart is not enlarged") these do not name the finding.
_NOT_NAMING = word_set("not_naming", written=True)


@dataclass(frozen=True)
class Reading:
    """What a text says: findings in order, other mentions, and what became of each sentence."""

    findings: tuple[Finding, ...]
    mentions: tuple[Mention, ...]
    sentences: tuple[ReadSentence, ...]


def parse_findings(text: str) -> tuple[Finding, ...]:
    """Findings of a report that is text alone, e.g. a reference report. English is read."""
    sections = find_sections(text)
    return read_findings(text, find_words(text, (), sections=sections), sections).findings


def read_findings(text: str, words: Sequence[Word], sections: Sequence[Section]) -> Reading:
    """Every finding that an English text names, in the order of the text, and what it says of each.

    Names are those of data/findings.toml. A denial ("no", "without", "has resolved") and a hedge ("may represent",
    "cannot be excluded") reach over their list within the clause; side and zones come from the finding's own part of
    its clause, in a list ("effusion and atelectasis on the left") from its neighbour, else from the heading. A tube's
    zone is its tip's level: "high", "mid" or "low". What stands in a history, an indication, an advice or a disclaimer
    is a mention. Time is linear in the length of the text.
    """
    findings: list[Finding] = []
    mentions: list[Mention] = []
    sentences: list[ReadSentence] = []
    naming = _Naming(words)
    read = _sentences(text, sections)
    told: set[str] = set()
    for number, (sentence, section) in enumerate(read):
        role = role_of(section)
        if role in ("history", "indication", "comparison", "technique") and section is not None:
            if _of_the_film(sentence):
                told.add(section)
            role = None if section in told else role
        following = read[number + 1][0] if number + 1 < len(read) else None
        stated, named = _read_one(sentence, role, following, naming, section)
        if findings and _goes_on(sentence):
            stated = [_placed_as(finding, findings) for finding in stated]
        findings += stated
        mentions += named
        sentences.append(
            ReadSentence(sentence.start, sentence.end, _reading_of(sentence, role, bool(stated), bool(named)))
        )
    return Reading(
        tuple(replace(finding, index=index) for index, finding in enumerate(findings)),
        tuple(replace(mention, index=index) for index, mention in enumerate(mentions)),
        tuple(sentences),
    )


def _sentences(text: str, sections: Sequence[Section]) -> list[tuple[Sentence, str | None]]:
    """Each sentence, with the words that it goes on from, and the name of its section."""
    read: list[tuple[Sentence, str | None]] = []
    stem: Sequence[Token] = ()
    for span in sentence_spans(text):
        trimmed = _trimmed(text, span)
        section = section_at(sections, trimmed[0])
        listed = _BULLET.match(text, span[0], span[1]) is not None
        if not listed or (read and read[-1][1] != section):
            stem = ()
        subject = subject_of(section)
        prefix = stem or ([*subject, Token(":", trimmed[0], trimmed[0])] if subject else ())
        sentence = read_sentence(text, trimmed, prefix)
        read.append((sentence, section))
        if (
            sentence.tokens
            and sentence.tokens[-1].base == ":"
            and any(cue.value[1] == "before" for cue in sentence.cues)
        ):
            stem = sentence.tokens[:-1]  # "No evidence of:" before a list
    return read


_BULLET = re.compile(r"\s*(?:[*+•-]|\d{1,2}[.)])\s")


def _of_the_film(sentence: Sentence) -> bool:
    """Whether a sentence under "Indication" or "History" speaks of the film: its own heading was left out."""
    return bool(normal_statements(sentence)) or any(
        sentence.base(structure.end) in ("is", "are")
        for structure in sentence.structures
        if structure.value in ("lung", "heart", "mediastinum")
    )


def _goes_on(sentence: Sentence) -> bool:
    """Whether a sentence says what the last one may be: "This may represent pneumonia"."""
    words = [token.base for token in sentence.tokens[sentence.prefix : sentence.prefix + 6]]
    if not ({"this", "these", "it"} & set(words) and sentence.names):
        return False
    return implies([token.base for token in sentence.tokens[sentence.prefix : sentence.names[0].start]])


def _placed_as(finding: Finding, earlier: Sequence[Finding]) -> Finding:
    """The finding at the place of the last one that is there, where it has none of its own."""
    last = next((other for other in reversed(earlier) if other.status != "absent"), None)
    if last is None or finding.side or finding.zones or finding.status == "absent":
        return finding
    term = lexicon().terms[finding.name]
    if term.device or lexicon().terms[last.name].device:
        return finding
    return replace(finding, side=last.side if term.sided else None, zones=last.zones if term.zoned else ())


def _read_one(
    sentence: Sentence, role: MentionRole | None, following: Sentence | None, naming: _Naming, section: str | None
) -> tuple[list[Finding], list[Mention]]:
    """The findings and the mentions of a sentence, in the order of the text; their indices are set later."""
    findings: list[Finding] = []
    mentions: list[Mention] = []
    roles = roles_of(sentence, role)
    judged, changes = judge(sentence), changes_of(sentence)
    places = places_of(sentence, [one.status == "absent" for one in judged], following)
    general = status_of(section)
    answer = _answer(sentence, following)
    for k, name in enumerate(sentence.names):
        start, end = _characters(sentence, name.start, name.end)
        its_role = roles[k]
        if answer is not None:
            its_role = "indication" if answer == "none" else None
        if _is_label(sentence, k):
            continue
        if its_role is not None:
            mentions.append(Mention(0, name.value, its_role, start, end, naming.of(start, end), section))
            continue
        status, hedge, change = judged[k].status, judged[k].hedge, changes[k]
        if answer in ("yes", "no"):
            status, hedge = ("present" if answer == "yes" else "absent"), None
        if general is not None and status == "present":
            status = general
        if change in ("resolved", "removed"):
            status, hedge = "absent", None
        elif status == "absent":
            change = None
        findings.append(
            Finding(
                index=0,
                name=name.value,
                status=status,
                side=places[k].side,
                zones=places[k].zones,
                start=start,
                end=end,
                word_indices=naming.of(start, end),
                section=section,
                hedge=_characters(sentence, *hedge) if hedge and status == "uncertain" else None,
                change=change,
            )
        )
    if role is None and not any(roles):
        findings += _denied_by_normal(sentence, findings, naming, section)
    return sorted(findings, key=lambda finding: finding.start), mentions


def _answer(sentence: Sentence, following: Sentence | None) -> str | None:
    """Of a question: "yes" or "no" where the next sentence answers it, else "none"; None for what is no question."""
    words = [token.base for token in sentence.tokens[sentence.prefix :]]
    if words[-1:] != ["query"] or not (_ASKING & set(words[:4]) or len(words) <= 4):
        return None
    if following is None and not _ASKING & set(words[:4]):
        return None  # "Effusion?"
    at = following.prefix if following is not None else 0
    if following is not None and following.base(at) in ("a", "answer") and following.base(at + 1) == ":":
        at += 2
    first = following.base(at) if following is not None else ""
    if following is None or first not in ("yes", "no"):
        return "none" if _ASKING & set(words[:4]) else None
    if {name.value for name in sentence.names} & {name.value for name in following.names}:
        return "none"  # the answer says it again
    return first if following.base(at + 1) in (",", ".", "") else "none"


_ASKING = word_set("asking")


def _is_label(sentence: Sentence, k: int) -> bool:
    """Whether a name only labels its sentence, which says it again: "Opacity: a hazy opacity on the left"."""
    name = sentence.names[k]
    end = min(name.end + 12, len(sentence.words))
    colon = next((i for i in range(name.end, end) if sentence.words[i] == ":"), None)
    if colon is None or name.start - sentence.prefix > 12:
        return False
    inside = {i for other in sentence.names for i in range(other.start, other.end)}
    if any(i not in inside and sentence.words[i] not in _JOINING for i in range(name.start, colon)):
        return False
    if any(other.value == name.value and other.start > colon for other in sentence.names[k + 1 :]):
        return True
    rest = [other for other in sentence.names if other.start > colon]
    if not rest and any(statement.start > colon and statement.names for statement in normal_statements(sentence)):
        return True  # "Effusion: The costophrenic angles are sharp"
    # "Opacities/infiltrates: There are areas of density" labels by several names and states none of them
    several = sum(other.end <= colon for other in sentence.names) > 1
    return several and not _DENYING & set(sentence.words[colon:]) and not _VERBS.isdisjoint(sentence.words[colon:])


_JOINING = frozenset(("and", "or", "/", ","))
_DENYING = frozenset(("no", "none", "not", "absent", "negative", "without"))
_VERBS = word_set("clause_verbs")


_ZONES = {"upper": "upper", "mid": "mid", "middle": "mid", "lower": "lower", "apex": "apical", "base": "lower"}
_SIDES = {"left": "left", "right": "right", "bilaterally": "bilateral"}


def _denied_by_normal(
    sentence: Sentence, said: Sequence[Finding], naming: _Naming, section: str | None
) -> list[Finding]:
    """The absences that normal statements say, but for what the sentence itself affirms."""
    affirmed = {finding.name for finding in said if finding.status != "absent"}
    found = []
    for statement in normal_statements(sentence):
        start, end = _characters(sentence, statement.start, statement.end)
        place = set(sentence.words[statement.start : statement.end + 1]) & {"left", "right", "bilaterally"}
        place = place or set(sentence.words[: sentence.prefix]) & {"left", "right"}
        told = _SIDES[next(iter(place))] if len(place) == 1 else None
        said_of = sentence.words[statement.start : statement.end]
        zones = tuple(dict.fromkeys(_ZONES[word] for word in said_of if word in _ZONES))
        for name in statement.names:
            if name in affirmed:
                continue
            side = told if lexicon().terms[name].sided else None
            where = zones if lexicon().terms[name].zoned else ()
            words = naming.of(start, end)
            found.append(Finding(0, name, "absent", side, where, start, end, words, section))
    return found


def _reading_of(sentence: Sentence, role: MentionRole | None, stated: bool, named: bool) -> SentenceReading:
    """Whether the sentence was read, is not about findings, or stays unread."""
    if stated:
        return "read"
    if role is not None or named:
        return "other"
    if normal_statements(sentence):
        return "read"
    words = sentence.words[sentence.prefix :]
    if set(words) <= _ANSWERS:
        return "other"
    topics = {match.value for match in lexicon().topics.find(sentence.tokens, shared=True)}
    if "general" in topics and any(cue.value[0] in ("deny", "affirm") for cue in sentence.cues):
        return "read"
    if topics & {"technique", "person", "advice"}:
        return "other"
    about = any(s.value not in _FRAMES and s.start >= sentence.prefix for s in sentence.structures)
    if "talk" in topics and (not about or words[-1:] == [":"]):
        return "other"
    return "unread"


_ANSWERS = frozenset(("yes", "no", "none", ".", ",", "!"))
_FRAMES = frozenset(("chest", "device", "abdomen"))


class _Naming:
    """Which words name what stands at a span of characters."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._words = words
        self._at = 0

    def of(self, start: int, end: int) -> tuple[int, ...]:
        """Indices of the words in text[start:end] that name a finding, or of all where none does ("Heart: Normal")."""
        low, high = 0, len(self._words)
        while low < high:
            middle = (low + high) // 2
            if self._words[middle].end <= start:
                low = middle + 1
            else:
                high = middle
        words = []
        while low < len(self._words) and self._words[low].start < end:
            words.append(self._words[low])
            low += 1
        naming = [word for word in words if word.text.lower() not in _NOT_NAMING]
        return tuple(word.index for word in naming or words)


def _characters(sentence: Sentence, start: int, end: int) -> Span:
    """The characters of tokens[start:end], of those that stand in the sentence itself."""
    first = max(start, sentence.prefix)
    return sentence.tokens[first].start, sentence.tokens[max(first, end - 1)].end


_EDGE = re.compile(r"^[\s*_#>|+•-]*(?:\d{1,2}[.)]\s*)?[\s*_]*")


def _trimmed(text: str, span: Span) -> Span:
    """The span without outer blanks and signs of a list."""
    match = _EDGE.match(text[span[0] : span[1]])
    start = span[0] + (match.end() if match else 0)
    return start, max(start, span[0] + len(text[span[0] : span[1]].rstrip(" \t\n*_|")))
