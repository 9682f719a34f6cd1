"""Tables as they stand in the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Markdown, line by line as it is measured."""
    print(f"\n**{title}**\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |", flush=True)


def percentile(seconds: Sequence[float], share: int) -> str:
    """In seconds, or nothing where nothing was measured."""
    return f"{np.percentile(seconds, share):.1f} s" if seconds else ""
