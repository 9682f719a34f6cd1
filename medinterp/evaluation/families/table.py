"""The self-test's numbers for a tiny random checkpoint of every family, as a table: class x check."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from medinterp.errors import SelfTestError
from medinterp.evaluation.families.tiny import KINDS, save_tiny

Results = Mapping[str, Mapping[str, str] | str]
"""By kind: its checks' numbers with their limits as the name, or what failed."""


def run_families(kinds: Sequence[str] = KINDS) -> dict[str, dict[str, str] | str]:
    """Save, load and test each kind, in a folder that is gone afterwards."""
    from medinterp.model import load_model, self_test

    results: dict[str, dict[str, str] | str] = {}
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            try:
                checks = self_test(load_model(str(save_tiny(kind, Path(folder))), device="cpu")).checks
                results[kind] = {f"{check.name} ({check.limit})": f"{check.value:.2g}" for check in checks}
            except SelfTestError as error:
                results[kind] = str(error).partition(": ")[2]
    return results


def families_table(results: Results) -> str:
    """A row for each check and a column for each kind; "-": a check that the kind has not. Failures stand below."""
    passed = {kind: found for kind, found in results.items() if not isinstance(found, str)}
    names = list(dict.fromkeys(name for found in passed.values() for name in found))
    rows = [["check (limit)", *results]]
    for name in names:
        rows.append([name, *(passed[kind].get(name, "-") if kind in passed else "" for kind in results)])
    rows.append(["all", *("pass" if kind in passed else "FAIL" for kind in results)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        " | ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in pairs)
        for pairs in (enumerate(zip(row, widths, strict=True)) for row in rows)
    ]
    lines.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join([*lines, *(f"{kind}: {found}" for kind, found in results.items() if isinstance(found, str))])
