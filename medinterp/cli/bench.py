"""`medinterp bench`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from medinterp.cli.arguments import Commands


def add(commands: Commands) -> None:
    """Add the command."""
    bench = commands.add_parser("bench", help="what capture and maps cost, as ratios measured in one run")
    bench.add_argument("--model", default="phantom")
    bench.add_argument("--json", type=Path, default=None, metavar="FILE")
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from medinterp.evaluation.speed import run_bench

    lines = []
    for line in run_bench(options.model):
        lines.append(line)
        print(f"{line.ratio:8.3f}  {line.name}: {line.value:g} / {line.baseline:g} {line.unit}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(line) for line in lines], indent=2) + "\n", encoding="utf-8")
    return 0
