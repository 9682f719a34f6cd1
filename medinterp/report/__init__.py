"""Reports: sections, words, findings, and the tokens that wrote them."""

from __future__ import annotations

from medinterp.report.boxes import BOX_QUESTION, box_question
from medinterp.report.builder import build_report, read_report
from medinterp.report.findings import parse_findings
from medinterp.report.lexicon import finding_names
from medinterp.report.sections import find_sections, is_impression
from medinterp.report.thinking import MARKS as THINKING_MARKS
from medinterp.report.thinking import inside_marks, spoken
from medinterp.report.words import find_words

__all__ = [
    "BOX_QUESTION",
    "THINKING_MARKS",
    "box_question",
    "build_report",
    "find_sections",
    "find_words",
    "finding_names",
    "inside_marks",
    "is_impression",
    "parse_findings",
    "read_report",
    "spoken",
]
