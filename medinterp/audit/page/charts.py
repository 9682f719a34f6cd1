"""Charts as SVG text, in the page's own colours; each says its numbers to readers who do not see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from medinterp.audit.analysis.draws import Estimate

INK, QUIET, LINE, ACCENT, WARM, PALE = "#20272c", "#556069", "#d3dade", "#0b6a99", "#b4480f", "#e6ebee"
_FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, Liberation Sans, sans-serif"'


def bars(rows: Sequence[tuple[str, Estimate, bool]], title: str) -> str:
    """Shares with their 95 % intervals, one a line: label, estimate, and whether the line is the one that matters."""
    rows = [row for row in rows if math.isfinite(row[1].value)]
    ends = [end for _, one, _ in rows for end in (one.high, one.value) if math.isfinite(end)]
    top = max([0.05, *ends]) * 1.08
    label, width, right, tall = 150, 260, 50, 30
    parts, spoken = [], []
    for k, (name, one, matters) in enumerate(rows):
        y, colour = k * tall + tall / 2 + 4, WARM if matters else "#8a979f"
        low, high = (end if math.isfinite(end) else one.value for end in (one.low, one.high))
        at, start, end = (label + max(0.0, share) / top * width for share in (one.value, low, high))
        weight = ' font-weight="600"' if matters else ""
        parts.append(
            f'<text x="{label - 10}" y="{y + 4:.1f}" text-anchor="end" fill="{INK}"{weight}>{escape(_cut(name))}</text>'
            f'<rect x="{label}" y="{y - 8:.1f}" width="{max(0.5, at - label):.1f}" height="16" rx="2" fill="{colour}" '
            f'fill-opacity="{0.85 if matters else 0.45}"/>'
            f'<path d="M{start:.1f} {y:.1f}H{end:.1f}M{start:.1f} {y - 4:.1f}v8M{end:.1f} {y - 4:.1f}v8" '
            f'stroke="{INK}" stroke-width="1.2"/>'
            f'<text x="{end + 8:.1f}" y="{y + 4:.1f}" fill="{INK}"{weight}>{one.value:.2f}</text>'
        )
        spoken.append(f"{name}: {one.value:.2f} ({low:.2f} to {high:.2f})")
    parts.append(f'<path d="M{label} 4V{len(rows) * tall + 4}" stroke="{QUIET}"/>')
    return _svg(label + width + right, len(rows) * tall + 8, "".join(parts), f"{title}. " + "; ".join(spoken))


def lungs(shares: Sequence[tuple[str, str, float | None, bool]], title: str) -> str:
    """Six zones of two lungs, as films hang: side, zone, a share or None, and whether the zone is the one."""
    parts, spoken = [], []
    for side, zone, share, matters in shares:
        row = ("upper", "mid", "lower").index(zone)
        x = 16 if side == "right" else 132
        y, wide = 30 + row * 62, 96
        fill = PALE if share is None else _mix(min(1.0, share))
        edge = f'stroke="{WARM}" stroke-width="3"' if matters else f'stroke="{LINE}"'
        parts.append(
            f'<rect x="{x}" y="{y}" width="{wide}" height="58" rx="10" fill="{fill}" {edge}/>'
            f'<text x="{x + wide / 2}" y="{y + 27}" text-anchor="middle" font-size="17" font-weight="600" '
            f'fill="{"#ffffff" if share is not None and share > 0.45 else INK}">'
            f"{'–' if share is None else f'{100 * share:.0f} %'}</text>"
            f'<text x="{x + wide / 2}" y="{y + 44}" text-anchor="middle" font-size="11" '
            f'fill="{"#ffffff" if share is not None and share > 0.45 else QUIET}">{zone}</text>'
        )
        spoken.append(f"{side} {zone}: {'nothing' if share is None else f'{100 * share:.0f} %'}")
    parts.append(f'<text x="64" y="18" text-anchor="middle" font-size="12" fill="{QUIET}">right lung</text>')
    parts.append(f'<text x="180" y="18" text-anchor="middle" font-size="12" fill="{QUIET}">left lung</text>')
    return _svg(244, 222, "".join(parts), f"{title}. " + "; ".join(spoken))


def histogram(scores: npt.NDArray[np.float64], fence: float, title: str) -> str:
    """Films by score, on a logarithmic axis, those above the fence in another colour."""
    width, tall, left, base = 520, 150, 8, 126
    least = float(scores.min(initial=0.0))
    logs, cut = np.log1p(scores - least), math.log1p(fence - least)
    top = max(float(logs.max(initial=0.0)), cut * 1.1, 1e-6)
    edges = np.unique(np.concatenate([np.linspace(0, cut, 25), np.linspace(cut, top, 14)]))
    counts, _ = np.histogram(logs, edges)
    highest = math.sqrt(max(1, int(counts.max(initial=1))))
    parts = []
    for k, count in enumerate(counts):
        if count:
            x, end = (left + edges[n] / top * (width - 2 * left) for n in (k, k + 1))
            y = base - math.sqrt(count) / highest * 100
            colour = WARM if edges[k] >= cut - 1e-9 else "#8a979f"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, end - x - 1):.1f}" height="{base - y:.1f}" '
                f'fill="{colour}"><title>{count} films</title></rect>'
            )
    for score in (0, 1, 2, 5, 10, 20, 50):
        x = left + math.log1p(score - least) / top * (width - 2 * left)
        if x <= width - left:
            parts.append(f'<text x="{x:.1f}" y="142" font-size="11" text-anchor="middle" fill="{QUIET}">{score}</text>')
    x = left + cut / top * (width - 2 * left)
    parts.append(f'<path d="M{x:.1f} 8V{base}" stroke="{WARM}" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x + 6:.1f}" y="18" font-size="11" fill="{WARM}">does not fit</text>')
    parts.append(f'<path d="M{left} {base}H{width - left}" stroke="{QUIET}"/>')
    return _svg(width, tall, "".join(parts), title)


def _svg(width: float, height: float, inside: str, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-size="13" {_FONT}><title>{escape(title)}</title>{inside}</svg>'
    )


def _mix(share: float) -> str:
    """From pale to warm."""
    pale, warm = (0xE6, 0xEB, 0xEE), (0xB4, 0x48, 0x0F)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(pale, warm, strict=True))


def _cut(text: str) -> str:
    return text if len(text) <= 22 else text[:21] + "…"
