"""A Report from what a generator emitted."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.report.findings import find_findings
from medinterp.report.sections import find_sections
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
) -> Report:
    """The report with its tokens, words, sections and findings.

    token_ids, offsets, logprobs (nats), alternatives, image_mass (0..1): one each for every token;
    offsets are character spans (start, end) in text, empty for a control token; two tokens share a character
    when each wrote a part of it. complete: the model ended the report itself.
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
    sections = find_sections(text)
    words = find_words(text, tokens, image_mass, sections)
    findings = find_findings(text, words, sections)
    return Report(text, tokens, words, sections, findings, complete)
