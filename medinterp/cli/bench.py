"""`medinterp bench`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from medinterp.cli.arguments import Commands, positive
from medinterp.errors import ModelError

if TYPE_CHECKING:
    from medinterp.evaluation.speed import BenchLine


def add(commands: Commands) -> None:
    """Add the command."""
    bench = commands.add_parser("bench", help="what capture and maps cost, as ratios measured in one run")
    what = bench.add_mutually_exclusive_group()
    what.add_argument("--model", default="phantom")
    what.add_argument(
        "--layout",
        choices=("medgemma-4b", "tiny"),
        help="a GPU's benchmark, on random weights of that layout (tiny: 2 layers of MedGemma-4B's widths)",
    )
    bench.add_argument("--page", action="store_true", help="the page in a browser alone; needs Chromium and selenium")
    bench.add_argument("--audit", action="store_true", help="an audit of an archive alone; needs Ray Data and psutil")
    bench.add_argument("--films", type=positive, default=400, metavar="N", help="of --audit (default: 400)")
    bench.add_argument("--store", action="store_true", help="what reports cost in the store alone")
    bench.add_argument("--device", default=None, help="of --layout: cuda, cuda:1 or cpu (default: cuda)")
    bench.add_argument("--json", type=Path, default=None, metavar="FILE", help="is written line by line as it measures")
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    import torch

    from medinterp.api.store.cost import store_lines
    from medinterp.evaluation.speed import card_lines, page_bench, run_bench

    if options.audit:
        from medinterp.audit.bench import audit_lines
        from medinterp.audit.bench_page import page_lines

        return _measure(chain(audit_lines(options.model, options.films), page_lines()), options.json)
    lines: Iterator[BenchLine]
    failures: dict[str, str] = {}
    left_out: dict[str, str] = {}

    def skipped(section: str, why: str) -> None:
        left_out[section] = why
        print(f"  skipped {section}: {why}", file=sys.stderr, flush=True)

    if options.layout is None:
        if options.device is not None:
            raise ModelError("--device goes with --layout; the benchmark of a model is of the processor's")
        if options.page and options.store:
            raise ModelError("--page and --store each measure one part alone; leave one out")
        parts = {
            "all": lambda: run_bench(options.model, skipped=skipped),
            "page": lambda: page_bench(options.model, skipped=skipped),
            "store": lambda: store_lines(options.model),
        }
        asked = [part for part in ("page", "store") if getattr(options, part)] or ["all", "store"]
        lines = chain.from_iterable(parts[part]() for part in asked)
    else:
        if options.page or options.store:
            raise ModelError("--page and --store go with --model: a layout has no service")
        device = options.device or "cuda"
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ModelError("there is no CUDA device here; --device cpu --layout tiny shows that the benchmark runs")

        def failed(section: str, error: Exception) -> None:
            failures[section] = f"{type(error).__name__}: {error}"
            print(f"  failed  {section}: {failures[section]}", file=sys.stderr, flush=True)

        lines = card_lines(options.layout, device, failed=failed)
    return _measure(lines, options.json, failures, left_out)


def _measure(
    lines: Iterator[BenchLine],
    path: Path | None,
    failures: dict[str, str] | None = None,
    left_out: dict[str, str] | None = None,
) -> int:
    """Print the lines as they are measured; the exit status."""
    failures, left_out = {} if failures is None else failures, {} if left_out is None else left_out
    measured: list[BenchLine] = []
    for line in lines:
        measured.append(line)
        print(f"{line.ratio:8.3f}  {line.name}: {line.value:g} / {line.baseline:g} {line.unit}", flush=True)
        _write(path, measured, failures, left_out)
    _write(path, measured, failures, left_out)
    return 1 if failures else 0


def _write(
    path: Path | None, lines: list[BenchLine], failures: dict[str, str], left_out: dict[str, str]
) -> None:
    from dataclasses import asdict

    if path is not None:
        told = {"lines": [asdict(line) for line in lines], "failed": failures, "skipped": left_out}
        path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
