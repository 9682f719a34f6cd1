"""A Report from what a generator emitted, or from a text that no model wrote."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.report.boxes import THOUSANDTHS, find_boxes, tied, without_lists
from medinterp.report.findings import read_findings
from medinterp.report.sections import find_sections
from medinterp.report.thinking import find_thinking, mark_spans, without_thinking
from medinterp.report.words import find_words
from medinterp.types import Alternative, Report, ReportToken


def build_report(
    token_ids: Sequence[int],
    offsets: Sequence[tuple[int, int]],
    text: str,
    logprobs: Sequence[float],
    alternatives: Sequence[tuple[Alternative, ...]],
    image_mass: Sequence[float],
    complete: bool,
    box_scale: tuple[float, float] = THOUSANDTHS,
) -> Report:
    """The report with its tokens, words, sections, findings, boxes and thoughts.

    token_ids, offsets, logprobs (nats), alternatives, image_mass (0..1): one each for every token;
    offsets are character spans (start, end) in text, empty for a control token; two tokens share a character
    when each wrote a part of it. complete: the model ended the report itself.
    box_scale: what the film's height and width are in the coordinates of boxes.
    Raises ValueError when the lengths differ or an offset lies outside text or runs backwards.
    """
    lengths = {len(part) for part in (token_ids, offsets, logprobs, alternatives, image_mass)}
    if len(lengths) != 1:
        raise ValueError(f"one entry for each token is needed, not {sorted(lengths)}")
    reached = 0
    for start, end in offsets:
        if not (max(0, reached - 1) <= start <= end and reached <= end <= len(text)):
            raise ValueError(f"token span ({start}, {end}) is not within {max(0, reached - 1)}..{len(text)}")
        reached = end
    tokens = tuple(
        ReportToken(index, int(token_id), start, end, float(logprob), tuple(others))
        for index, (token_id, (start, end), logprob, others) in enumerate(
            zip(token_ids, offsets, logprobs, alternatives, strict=True)
        )
    )
    return _report(text, tokens, image_mass, complete, box_scale)


def read_report(text: str) -> Report:
    """The report of a text that no model wrote here: no tokens, and nothing measured of its words."""
    return _report(text, (), None, True, THOUSANDTHS)


def _report(
    text: str,
    tokens: tuple[ReportToken, ...],
    image_mass: Sequence[float] | None,
    complete: bool,
    box_scale: tuple[float, float],
) -> Report:
    thinking = find_thinking(text, tokens)
    answer = without_thinking(text, thinking)
    sections = find_sections(answer)
    words = find_words(text, tokens, image_mass, sections, mark_spans(text))
    drawn, box_notes = find_boxes(answer, box_scale)
    reading = read_findings(without_lists(answer, drawn), words, sections)
    boxes, sentences = tied(drawn, words, reading.findings, reading.sentences)
    return Report(
        text=text,
        tokens=tokens,
        words=words,
        sections=sections,
        findings=reading.findings,
        complete=complete,
        mentions=reading.mentions,
        sentences=sentences,
        thinking=thinking,
        boxes=boxes,
        box_notes=box_notes,
    )
