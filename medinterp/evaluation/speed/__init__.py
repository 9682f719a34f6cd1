"""What capture, maps and decoding cost, as ratios measured in one run: `medinterp bench`."""

from __future__ import annotations

from medinterp.evaluation.speed.bench import page_bench, run_bench
from medinterp.evaluation.speed.card import card_lines
from medinterp.evaluation.speed.line import BenchLine

__all__ = ["BenchLine", "card_lines", "page_bench", "run_bench"]
