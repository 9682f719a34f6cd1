"""A report's text as HTML: sections, words that are buttons, findings. All text is escaped here."""

from __future__ import annotations

import re
from collections import Counter
from html import escape

from medinterp.types import Explanation, Finding, Report

_MARKDOWN = re.compile(r"[*_#:>]")


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
    """The report with its headings; every word that tokens wrote is a button.

    A button carries data-selection: the word's place in `selections` (medinterp.export.page).
    """
    blocks: list[str] = []
    at = 0
    for section in sorted(report.sections, key=lambda section: section.start):
        # The heading is the last line before the body; what stands above it is a paragraph of its own.
        stop = at + len(report.text[at : section.start].rstrip())
        lead = max(at, report.text.rfind("\n", at, stop) + 1)
        blocks.append(_paragraph(report, at, lead))
        heading = _run(report, lead, section.start, heading=True)
        blocks.append(f"<section><h3>{heading or escape(section.name)}</h3>")
        blocks.append(_paragraph(report, section.start, section.end))
        blocks.append("</section>")
        at = section.end
    blocks.append(_paragraph(report, at, len(report.text)))
    return "\n".join(filter(None, blocks))


def findings_html(report: Report) -> str:
    """The findings as buttons; their selections follow the words'. Equal ones say which section they stand in."""
    chips = []
    titles = Counter(finding_title(finding) for finding in report.findings)
    for place, finding in enumerate(report.findings):
        kind = "present" if finding.present else "absent"
        title = finding_title(finding)
        name = escape(f"{title} ({finding.section})" if titles[title] > 1 and finding.section else title)
        if tokens_of(report, finding):
            selection = len(report.words) + place
            button = f'<button type="button" class="chip {kind}" aria-pressed="false"'
            chips.append(f'{button} data-selection="{selection}">{name}</button>')
        else:
            chips.append(f'<span class="chip {kind}">{name}</span>')
    return "\n".join(chips)


def finding_title(finding: Finding) -> str:
    """For example "nodule, left upper" or "no pneumothorax"."""
    place = " ".join(part for part in (finding.side, finding.zone) if part)
    return f"{'' if finding.present else 'no '}{finding.name}{', ' if place else ''}{place}"


def tokens_of(report: Report, finding: Finding) -> tuple[int, ...]:
    """The indices of the tokens that wrote a finding's name; none for a text that no model wrote."""
    words = [report.words[index] for index in finding.word_indices]
    return tuple(sorted({token for word in words for token in word.token_indices}))


def _paragraph(report: Report, start: int, end: int) -> str:
    content = _run(report, start, end)
    return f"<p>{content}</p>" if content else ""


def _run(report: Report, start: int, end: int, *, heading: bool = False) -> str:
    """Words and the text between them in text[start:end]; a heading loses its markdown signs."""
    pieces: list[str] = []
    at = start
    named = {index: finding.present for finding in report.findings for index in finding.word_indices}
    for word in report.words:
        if not start <= word.start < end:
            continue
        pieces.append(_between(report.text[at : word.start], heading))
        if word.token_indices:
            kind = "" if word.index not in named else " present" if named[word.index] else " absent"
            button = f'<button type="button" class="word{kind}" aria-pressed="false"'
            pieces.append(f'{button} data-selection="{word.index}">{escape(word.text)}</button>')
        else:
            pieces.append(escape(word.text))
        at = word.end
    pieces.append(_between(report.text[at:end], heading))
    return "".join(pieces).strip()


def _between(text: str, heading: bool) -> str:
    return escape(_MARKDOWN.sub("", text) if heading else text)
