"""A report that somebody else wrote, on the command line."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from medinterp.errors import ReportTextError

if TYPE_CHECKING:
    from medinterp.types import Report


def read_report(name: str) -> str:
    """The text of a file, or of standard input ("-"): UTF-8, without a BOM, with line feeds alone.

    Raises ReportTextError for what cannot be read, is no UTF-8 text or is empty.
    """
    file = "standard input" if name == "-" else name
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except OSError as error:
        raise ReportTextError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ReportTextError(f"{file} is not UTF-8 text; save it as UTF-8") from error
    if not text.strip():
        raise ReportTextError(f"{file} is empty")
    return text


def tell_unlikely(path: Path, report: Report) -> None:
    """Say on standard error how much of a report the model would hardly have written."""
    words = sum(word.unlikely for word in report.words)
    told = f"explained: {len(report.words)} words; {words} of them the model would hardly write"
    print(f"medinterp: {path}: {told}", file=sys.stderr)
