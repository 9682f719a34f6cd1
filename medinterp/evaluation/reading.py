"""Does the model really read? Reports of synthetic films against what is on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medinterp.phantom.films import (
    TEST_SEEDS_START,
    SyntheticFilm,
    draw_film,
    facts_of,
    sample_film,
    size_in_cells,
)
from medinterp.report import is_impression, parse_findings
from medinterp.types import Film

CALIBRATION_SEEDS_START = 5_000_000
"""First seed of the films that calibration learns from: apart from training (0 and up) and from every test."""
FIRST_SEED = TEST_SEEDS_START + 100_000
"""First seed of the films that reading is measured on."""


@dataclass(frozen=True)
class Place:
    """Where a report says that one name is: the side ("bilateral" for both), and the zone where it gives just one."""

    side: str | None
    zone: str | None


def said_by(text: str) -> dict[str, Place]:
    """The findings that a report affirms without a hedge, outside its impression."""
    found: dict[str, Place] = {}
    for finding in parse_findings(text):
        if finding.present and not is_impression(finding.section) and finding.name not in found:
            found[finding.name] = Place(finding.side, finding.zones[0] if len(finding.zones) == 1 else None)
    return found


def film_of(synthetic: SyntheticFilm, width: int, height: int) -> tuple[Film, tuple[float, ...]]:
    """A synthetic film as the library reads it, and the size of its findings in cells."""
    drawing = draw_film(synthetic, width, height)
    film = Film(pixels=drawing.uint8(), media_type="image/png", sha256=f"synthetic-{synthetic.seed}")
    return film, tuple(size_in_cells(mask) for mask in drawing.masks)


def unseen_films(count: int, first_seed: int = FIRST_SEED) -> Iterator[tuple[SyntheticFilm, int, int]]:
    """Films never seen in training, with a size in pixels (600 to 1000) for each."""
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng([seed, 0x51CE])
        yield sample_film(seed), int(rng.integers(600, 1001)), int(rng.integers(600, 1001))


def evaluate_reading(
    write_reports: Callable[[Sequence[Film]], list[str]],
    films: int = 1000,
    *,
    batch: int = 32,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Finding-level F1, side and zone accuracy, and whether a removed finding's words go, on unseen films.

    write_reports: films in, one report text each. Findings of less than one cell count neither for nor
    against the model (`small_found` says how often they were found all the same). Side and zone are asked
    of findings that were found; zone only of single ones. `removed_finding_changes_word` is the share of
    found findings that are no longer affirmed on the exact counterfactual film without them.
    """
    totals: Counter[str] = Counter()
    by_name: dict[str, Counter[str]] = {}
    queue = list(unseen_films(films))
    for start in range(0, len(queue), batch):
        part = queue[start : start + batch]
        drawn = [film_of(*one) for one in part]
        reports = [said_by(text) for text in write_reports([film for film, _ in drawn])]
        removals: list[tuple[str, Film]] = []
        for (synthetic, width, height), (_, sizes), said in zip(part, drawn, reports, strict=True):
            facts = facts_of(synthetic, draw_film(synthetic, 256, 256, aspect=width / height))
            true_names = {fact.name for fact in facts}
            for name in said.keys() - true_names:
                totals["false"] += 1
                by_name.setdefault(name, Counter())["false"] += 1
            for name in true_names:
                mine = [k for k, fact in enumerate(facts) if fact.name == name]
                tally = by_name.setdefault(name, Counter())
                if max(sizes[k] for k in mine) < 1.0:
                    totals["small"] += 1
                    totals["small_found"] += name in said
                    tally["small"] += 1
                    tally["small_found"] += name in said
                    continue
                totals["true"] += 1
                tally["true"] += 1
                if name not in said:
                    continue
                totals["found"] += 1
                tally["found"] += 1
                if facts[mine[0]].side is not None:
                    side = "bilateral" if len(mine) == 2 else facts[mine[0]].side
                    totals["side"] += 1
                    totals["side_right"] += said[name].side == side
                if facts[mine[0]].zone is not None and len(mine) == 1:
                    totals["zone"] += 1
                    totals["zone_right"] += said[name].zone == facts[mine[0]].zone
                    tally["zone"] += 1
                    tally["zone_right"] += said[name].zone == facts[mine[0]].zone
            found = [k for k, f in enumerate(facts) if f.name in said and sizes[k] >= 1.0]
            alone = [k for k in found if [f.name for f in facts].count(facts[k].name) == 1]
            if alone:
                removals.append((facts[alone[0]].name, film_of(synthetic.without(alone[0]), width, height)[0]))
        if removals:
            after = [said_by(text) for text in write_reports([film for _, film in removals])]
            totals["removed"] += len(removals)
            totals["removed_gone"] += sum(name not in said for (name, _), said in zip(removals, after, strict=True))
        if progress is not None:
            progress(len(part))
    return {
        "films": films,
        "finding_f1": _f1(totals),
        "side_accuracy": _ratio(totals["side_right"], totals["side"]),
        "zone_accuracy": _ratio(totals["zone_right"], totals["zone"]),
        "removed_finding_changes_word": _ratio(totals["removed_gone"], totals["removed"]),
        "small_found": _ratio(totals["small_found"], totals["small"]),
        "findings": {name: _by_finding(tally) for name, tally in sorted(by_name.items())},
    }


def _ratio(part: int, whole: int) -> float | None:
    """A share, or None when there was nothing to count."""
    return round(part / whole, 4) if whole else None


def _f1(tally: Counter[str]) -> float | None:
    return _ratio(2 * tally["found"], tally["found"] + tally["false"] + tally["true"])


def _by_finding(tally: Counter[str]) -> dict[str, float | int | None]:
    return {
        "true": tally["true"],
        "false_alarms": tally["false"],
        "f1": _f1(tally) if tally["true"] else None,
        "zone_accuracy": _ratio(tally["zone_right"], tally["zone"]),
        "small_found": _ratio(tally["small_found"], tally["small"]),
    }
