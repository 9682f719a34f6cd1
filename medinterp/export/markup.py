"""A report's text as HTML: sections, words that are buttons, what was thought before. All text is escaped here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from medinterp.export.chips import STATUSES
from medinterp.report import inside_marks
from medinterp.types import Explanation, Report

_MARKDOWN = re.compile(r"[*_#:>]")
_UNLIKELY = '<span class="unlikely" title="the model would hardly have written this word">'
_UNREAD = '<span class="unread" title="not understood: no finding was taken from this sentence">'


def warnings_html(explanation: Explanation) -> str:
    """What is doubtful about the films, above everything else; nothing where nothing is."""
    films = {"": explanation.film} | ({} if explanation.prior is None else {"Prior film: ": explanation.prior})
    told = [(name, warning) for name, film in films.items() for warning in film.warnings]
    if not told:
        return ""
    told.sort(key=lambda one: not one[1].withholds)
    forced = told[0][1].withholds
    title = "Read all the same: a report on this film means nothing" if forced else _count(len(told))
    kinds = {True: ' class="withholds"', False: ""}
    items = "".join(f"<li{kinds[one.withholds]}>{name}{escape(one.text)}</li>" for name, one in told)
    kind = "withholds" if forced else "doubt"
    return f'<aside class="warnings {kind}" role="note"><strong>{title}</strong><ul>{items}</ul></aside>'


def _count(warnings: int) -> str:
    return "Warning about this film" if warnings == 1 else f"{warnings} warnings about this film"


def report_html(report: Report) -> str:
    """The report with its headings, and what was thought folded away; every word that tokens wrote is a button.

    A button carries data-selection: the word's place in `selections` (medinterp.export.page).
    """
    blocks: list[str] = []
    at = 0
    for section in sorted(report.sections, key=lambda section: section.start):
        # The heading is the last line before the body; what stands above it is a paragraph of its own.
        stop = at + len(report.text[at : section.start].rstrip())
        thought = max((each.end for each in report.thinking if each.end <= section.start), default=0)
        lead = max(at, thought, report.text.rfind("\n", at, stop) + 1)
        blocks.append(_passage(report, at, lead))
        heading = _run(report, lead, section.start, heading=True)
        blocks.append(f"<section><h3>{heading or escape(section.name)}</h3>")
        blocks.append(_passage(report, section.start, section.end))
        blocks.append("</section>")
        at = section.end
    blocks.append(_passage(report, at, len(report.text)))
    return "\n".join(filter(None, blocks))


def mentions_html(report: Report) -> str:
    """The names that state nothing about this film, each once with its role; nothing where there are none."""
    named = dict.fromkeys(f"{mention.name} ({mention.role})" for mention in report.mentions)
    return f'<p class="quiet mentions">Also named: {escape(", ".join(named))}</p>' if named else ""


def sentences_html(report: Report) -> str:
    """How many sentences were read, and what the dots under some of them say; nothing where they were not counted."""
    if not report.sentences:
        return ""
    counts = Counter(sentence.reading for sentence in report.sentences)
    read = f"{counts['read']} sentence{'' if counts['read'] == 1 else 's'} read"
    told = [read, *([f"{counts['other']} not about findings"] if counts["other"] else [])]
    if not counts["unread"]:
        return f'<p class="quiet sentences">{", ".join(told)}, none unread</p>'
    told.append(f'<span class="unread">{counts["unread"]} unread</span>')
    legend = "What is underlined with dots was not understood: no finding was taken from it."
    return f'<p class="quiet sentences">{", ".join(told)}. {legend}</p>'


def unlikely_html(report: Report) -> str:
    """What the wave under some words says; nothing where there are none."""
    count = sum(word.unlikely for word in report.words)
    if not count:
        return ""
    words = f'<span class="unlikely">{count} word{"" if count == 1 else "s"}</span>'
    wave = "wavy: the model gave this word, or a part of it, less than 1 in 1,000"
    return f'<p class="quiet unlikelies">{words} the model would hardly have written ({wave}).</p>'


def _passage(report: Report, start: int, end: int) -> str:
    """A paragraph; what was thought in it is folded away between its parts."""
    blocks: list[str] = []
    at = start
    for thought in report.thinking:
        if start <= thought.start < end:
            blocks += [_paragraph(report, at, thought.start), _thinking(report, thought.start, min(thought.end, end))]
            at = thought.end
    blocks.append(_paragraph(report, at, end))
    return "\n".join(filter(None, blocks))


def _thinking(report: Report, start: int, end: int) -> str:
    """What stands between the marks of a thought, folded away; nothing where nothing does."""
    first, last = inside_marks(report.text, start, end)
    words = sum(first <= word.start < last for word in report.words)
    summary = f"<summary>What the model thought before it answered, {words} word{'' if words == 1 else 's'}</summary>"
    content = _paragraph(report, first, last)
    return f'<details class="thinking">{summary}{content}</details>' if content else ""


def _paragraph(report: Report, start: int, end: int) -> str:
    content = _run(report, start, end)
    return f"<p>{content}</p>" if content else ""


def _run(report: Report, start: int, end: int, *, heading: bool = False) -> str:
    """Words and the text between them in text[start:end]; a heading loses its markdown signs."""
    pieces: list[str] = []
    at = start
    marks = _marks(report)
    for stop, unread in _stretches(report, start, end):
        inside: list[str] = []
        for word in report.words:
            if at <= word.start < stop:
                inside += [_between(report.text[at : word.start], heading), _word(report, word.index, marks)]
                at = word.end
        inside.append(_between(report.text[at:stop], heading))
        at = max(at, stop)
        content = "".join(inside)
        marked = unread and not heading and content.strip()
        pieces.append(f"{_UNREAD}{content}</span>" if marked else content)
    return "".join(pieces).strip()


def _stretches(report: Report, start: int, end: int) -> Iterator[tuple[int, bool]]:
    """Where each stretch of text[start:end] ends, and whether it is (a part of) an unread sentence."""
    at = start
    for sentence in report.sentences:
        if sentence.reading != "unread" or sentence.end <= at or sentence.start >= end:
            continue
        text = report.text[sentence.start : sentence.end]
        first = max(at, sentence.end - len(text.lstrip()))
        last = min(end, sentence.start + len(text.rstrip()))
        if first < last:
            yield first, False
            yield last, True
            at = last
    yield end, False


def _marks(report: Report) -> Mapping[int, str]:
    """How each word that names or hedges a finding is marked; of a word that names several, the most certain counts."""
    marks: dict[int, str] = {}
    for start, end in (finding.hedge for finding in report.findings if finding.hedge is not None):
        marks |= {word.index: "hedge" for word in report.words if word.start < end and start < word.end}
    for finding in sorted(report.findings, key=lambda finding: STATUSES.index(finding.status), reverse=True):
        marks |= dict.fromkeys(finding.word_indices, finding.status)
    return marks


def _word(report: Report, index: int, marks: Mapping[int, str]) -> str:
    word = report.words[index]
    if not word.token_indices:
        return escape(word.text)
    kind = f" {marks[index]}" if index in marks else ""
    button = f'<button type="button" class="word{kind}" aria-pressed="false"'
    # The wave is an element's own: a word may be a finding's name and have that line too.
    text = f"{_UNLIKELY}{escape(word.text)}</span>" if word.unlikely else escape(word.text)
    return f'{button} data-selection="{index}">{text}</button>'


def _between(text: str, heading: bool) -> str:
    return escape(_MARKDOWN.sub("", text) if heading else text)
