"""`medinterp audit compare A B`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from medinterp.cli.arguments import Commands, positive


def add(commands: Commands) -> None:
    """Add the command."""
    compare = commands.add_parser("compare", help="what changed between two audits: two models, or two months")
    compare.add_argument("before", metavar="A")
    compare.add_argument("after", metavar="B")
    compare.add_argument("--method", default=None, help="whose maps are the evidence (default: A's first)")
    compare.add_argument("--rows", type=positive, default=20, metavar="N", help="lines that are printed (default: 20)")
    compare.add_argument("--json", type=Path, default=None, metavar="FILE", help="write all differences")
    compare.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> int:
    from medinterp.audit.analysis.drift import drift
    from medinterp.audit.analysis.evidence import read_evidence
    from medinterp.audit.analysis.films import read_films
    from medinterp.audit.analysis.result import interval
    from medinterp.audit.tables import open_audit

    audits = [open_audit(where) for where in (options.before, options.after)]
    method = options.method or audits[0].manifest["methods"][0]
    before, after = (read_evidence(audit, read_films(audit), method) for audit in audits)
    found = drift(before, after)
    standing = [one for one in found if one.stands]
    print(f"{len(standing)} of {len(found)} differences stand (intervals corrected for all of them, Bonferroni)")
    for one in found[: options.rows]:
        mark = "*" if one.stands else " "
        change = f"{one.change.value:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
        numbers = f"{one.before.value:.3f} -> {one.after.value:.3f}  {change}"
        print(f"{mark} {one.finding:20} {one.what:42} {numbers}")
    if options.json is not None:
        rows = [
            {
                "finding": one.finding,
                "what": one.what,
                "before": interval(one.before),
                "after": interval(one.after),
                "change": one.change.value,
                "low": one.low,
                "high": one.high,
                "stands": one.stands,
            }
            for one in found
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0
