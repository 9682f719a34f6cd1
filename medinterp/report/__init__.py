"""Reports: sections, words, findings, and the tokens that wrote them."""

from __future__ import annotations

from medinterp.report.builder import build_report
from medinterp.report.findings import find_findings, parse_findings
from medinterp.report.sections import find_sections, is_impression
from medinterp.report.words import find_words

__all__ = ["build_report", "find_findings", "find_sections", "find_words", "is_impression", "parse_findings"]
