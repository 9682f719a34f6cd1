"""The benchmark's one page of plots: dots with intervals, drawn as SVG, no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from medinterp.evaluation.benchmark.film import PRIORS
from medinterp.evaluation.benchmark.summary import TITLES

PLOTS = (
    "pointing", "mass", "srg", "spearman", "specificity", "randomised rho", "randomised pointing", "shuffled rho",
    "shuffled pointing",
)  # fmt: skip
_ROW, _LEFT, _WIDTH, _RIGHT = 22, 200, 260, 60
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1120px; padding: 0 1rem; color: #16202a }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(520px, 1fr)); gap: 1.5rem }
h2 { font-size: 1rem; margin: 0 0 .3rem } svg { width: 100%; height: auto } text { font-size: 12px; fill: #16202a }
.prior { fill: #7a8794 } table { border-collapse: collapse; margin: 1rem 0; font-size: 13px }
td, th { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #d8dee4 } td:first-child { text-align: left }
"""
MEANINGS = {
    "pointing": "share of tokens whose strongest cell lies on the finding (more is better)",
    "mass": "share of the map's positive part on cells that the finding touches (more is better)",
    "srg": "symmetric relevance gain: insertion less deletion area (more is better)",
    "spearman": "rank correlation with exact occlusion (more is better)",
    "specificity": "rank correlation of the maps of tokens of different findings (less is better)",
    "randomised rho": "rank correlation with the maps of a model of permuted weights (near 0 is better)",
    "randomised pointing": "that model's maps: share that point at the finding (no more than the priors is better)",
    "shuffled rho": "rank correlation with the maps of a model that learned other films' reports (near 0 is better)",
    "shuffled pointing": "that model's maps: share that point at the finding (no more than the priors is better)",
}


def page(summary: Mapping[str, Any]) -> str:
    """One HTML document: plots of all methods, and pointing by finding and by size."""
    plots = "".join(_plot(summary["methods"], metric) for metric in PLOTS)
    strata = "".join(_strata(summary[kind], title) for kind, title in (("findings", "finding"), ("sizes", "size")))
    models = ", ".join(escape(str(name)) for name in summary["models"])
    intro = (
        f"{summary['tokens']} certified tokens of {summary['films']} films each read by: {models}. Certified: "
        f"{100 * (summary['certified_share'] or 0):.1f} % of all tokens. Dots are means, lines 95 % intervals. Gray: "
        "what knows nothing of the model."
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Benchmark with known truth</title>'
        f"<style>{_STYLE}</style><h1>Benchmark with known truth</h1><p>{intro}</p>"
        f'<div class="plots">{plots}</div>{strata}</html>\n'
    )


def _plot(methods: Mapping[str, Any], metric: str) -> str:
    rows = [(name, scores[metric]) for name, scores in methods.items() if scores[metric]["value"] is not None]
    if not rows:
        return ""
    low = min(0.0, *(scores["low"] for _, scores in rows))
    high = max(1.0 if low == 0.0 else 0.5, *(scores["high"] for _, scores in rows))

    def x(value: float) -> float:
        return float(_LEFT + (value - low) / (high - low) * _WIDTH)

    title = TITLES.get(metric, metric.replace("rho", "ρ"))
    height = _ROW * len(rows) + 24
    parts = [f'<line x1="{x(0):.1f}" y1="0" x2="{x(0):.1f}" y2="{height - 20}" stroke="#b7c0c9"/>']
    for place, (name, scores) in enumerate(rows):
        y = _ROW * place + _ROW / 2
        colour = "#7a8794" if name in PRIORS else "#0b5cad"
        kind = ' class="prior"' if name in PRIORS else ""
        parts.append(f'<text{kind} x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<line x1="{x(scores["low"]):.1f}" y1="{y}" x2="{x(scores["high"]):.1f}" y2="{y}" stroke="{colour}" '
            f'stroke-width="2"/><circle cx="{x(scores["value"]):.1f}" cy="{y}" r="4" fill="{colour}"/>'
            f'<text x="{_LEFT + _WIDTH + 10}" y="{y + 4}">{scores["value"]:.2f}</text>'
        )
    for value in (low, high):
        parts.append(f'<text x="{x(value):.1f}" y="{height - 6}" text-anchor="middle">{value:.2f}</text>')
    drawn = "".join(parts)
    return (
        f"<section><h2>{escape(title)}: {escape(MEANINGS[metric])}</h2>"
        f'<svg viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" role="img" aria-label="{escape(title)}">'
        f"{drawn}</svg></section>"
    )


def _strata(strata: Mapping[str, Any], title: str) -> str:
    """Pointing and mass of every method, one column a stratum."""
    if not strata:
        return ""
    names = list(strata)
    methods = list(strata[names[0]]["methods"])
    head = "".join(f"<th>{escape(name)}<br>{strata[name]['tokens']} tokens</th>" for name in names)
    rows = []
    for method in methods:
        cells = []
        for name in names:
            point, mass = (strata[name]["methods"][method][metric]["value"] for metric in ("pointing", "mass"))
            cells.append("<td>" + ("" if point is None else f"{point:.2f} / {mass:.2f}") + "</td>")
        rows.append(f"<tr><td>{escape(method)}</td>{''.join(cells)}</tr>")
    return f"<h2>Pointing / mass by {title}</h2><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"
