"""How the page says its numbers."""

from __future__ import annotations

import math

from medinterp.audit.analysis.blind import Zone
from medinterp.audit.analysis.draws import Estimate
from medinterp.audit.analysis.shortcuts import Look

MOST = 1 / 3
"""Share of evidence from which on words are said to be driven by a place."""
PLACES = {
    "marker": ("markers", "on markers"),
    "outside the body": ("what lies outside the body", "outside the body"),
    "border": ("the film's border", "on the film's border"),
}
"""What drives the words, and where their evidence lies."""


def share(one: Estimate | None) -> str:
    """A share of evidence with its interval: "0.62 of their evidence (95 % interval 0.58 to 0.66)"."""
    if one is None or not math.isfinite(one.low):
        return "–" if one is None or not math.isfinite(one.value) else f"{one.value:.2f} of their evidence"
    return f"{one.value:.2f} of their evidence (95 % interval {max(0.0, one.low):.2f} to {one.high:.2f})"


def percent(one: Estimate | None) -> str:
    """The same in per cent: "44 % (18 to 69)"."""
    if one is None or not math.isfinite(one.value):
        return "–"
    if not math.isfinite(one.low):
        return f"{100 * one.value:.0f} %"
    return f"{100 * one.value:.0f} % ({100 * max(0.0, one.low):.0f} to {100 * min(1.0, one.high):.0f})"


def where(look: Look) -> str:
    """The group of films: " at site B", " where view is AP", "" for all."""
    if not look.column:
        return ""
    return f" at {look.column} {look.group}" if look.column == "site" else f" where {look.column} is {look.group}"


def shortcut(look: Look) -> str:
    """The sentence of a shortcut."""
    place = PLACES[look.place][0]
    verb = "are driven by" if look.value.value >= MOST else "lean on"
    return (
        f"Words for {look.finding.upper()}{where(look)} {verb} {place}: {share(look.value)} "
        "lies there."
    )


def compared(look: Look) -> str:
    """What the number of a shortcut is held against."""
    others = f"Of the words for other findings{where(look)} it is {look.other.value:.2f}"
    if look.elsewhere is None or not math.isfinite(look.elsewhere.value):
        return f"{others}."
    return f"{others}; of {look.finding.upper()} on all other films {look.elsewhere.value:.2f}."


def blind(zone: Zone) -> str:
    """The sentence of a blind spot."""
    name = f"The {zone.side} {zone.zone} zone"
    if zone.not_found and zone.missed is not None and zone.missed_else is not None:
        return (
            f"{name} is a blind spot: of the findings that reports place there the model would hardly have written "
            f"{percent(zone.missed)}, of those in all other zones {percent(zone.missed_else)}."
        )
    if zone.not_found:
        return (
            f"{name} is a blind spot: the model places {zone.mentions} findings there, and {zone.mirrored} in the same "
            "zone of the other side."
        )
    return f"{name} is hardly looked at, even where the report places a finding there."


def looked(zone: Zone) -> str:
    """How much findings in a zone are looked at where they are."""
    if zone.looked is None or zone.looked_else is None:
        return f"{zone.mentions:,} findings."
    return (
        f"{zone.mentions:,} findings. Of the evidence for them {zone.looked.value:.2f} (95 % interval "
        f"{zone.looked.low:.2f} to {zone.looked.high:.2f}) lies in the zone; for findings in other zones "
        f"{zone.looked_else.value:.2f} in theirs."
    )
