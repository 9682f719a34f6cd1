"""From a DICOM's values to gray: VOI tables, windows, or the film's own range (PS3.3 C.11.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from medinterp.errors import NoPictureError, SelectionError, UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_values import decimals, require_finite, term
from medinterp.imaging.lut import LookupTable, read_lut
from medinterp.imaging.robust import robust_limits
from medinterp.types import FilmWarning, WindowChoice

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
FULL = "full"
LEAST_LEVELS = 20.0
"""Of 255 gray levels between the 2nd and the 98th percentile: what a window must leave to be one for this film."""
LEAST_GRAY = 0.05
"""Share of the film that must be neither black nor white."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """One way to gray: its name and label, and what brings values to 0..1."""

    choice: WindowChoice
    apply: Callable[[Doubles], Doubles]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Voi:
    """What the header offers, in its order; notes on what it offers that cannot be used.

    flaw: the error to raise when nobody asked for a window and the header's first one is no window at all.
    """

    offered: tuple[Rendering, ...]
    notes: tuple[str, ...] = ()
    flaw: UnreadableFilmError | None = None


def read_voi(dataset: Dataset, *, signed: bool) -> Voi:
    """The header's VOI tables and windows. Raises UnreadableFilmError for tables that cannot be parsed."""
    offered: list[Rendering] = []
    notes: list[str] = []
    with broken_is_unreadable("DICOM"):
        items = list(dataset.get("VOILUTSequence") or ())
    for place, item in enumerate(items, start=1):
        table = read_lut(item, signed=signed)
        if table is None:
            notes.append(f"VOI LUT {place} holds no table that can be used")
            continue
        choice = WindowChoice(f"lut-{place}", f"VOI LUT {place}, {len(table.entries)} entries from {table.first}")
        offered.append(Rendering(choice, partial(_looked_up, table), table.notes))
    function = term(dataset, "VOILUTFunction") or "LINEAR"
    if function not in FUNCTIONS:
        notes.append("VOI LUT function unknown: LINEAR taken")
        function = "LINEAR"
    centers, widths = decimals(dataset, "WindowCenter"), decimals(dataset, "WindowWidth")
    flaw: UnreadableFilmError | None = None
    for place, (center, width) in enumerate(zip(centers, widths, strict=False), start=1):
        try:
            require_finite("WindowCenter", center)
            require_finite("WindowWidth", width)
        except UnreadableFilmError as error:
            flaw = flaw or (error if place == 1 else None)
            notes.append(f"window {place} is not finite: not used")
            continue
        if width < 1 if function == "LINEAR" else width <= 0:
            notes.append(f"window {place} has a width of {width:g}, which {function} does not allow: not used")
            continue
        offered.append(_window(f"window-{place}", center, width, function))
    return Voi(tuple(offered), tuple(notes), flaw)


def _looked_up(table: LookupTable, values: Doubles) -> Doubles:
    return _clipped(table.look_up(values) / table.white)


def _window(name: str, center: float, width: float, function: str) -> Rendering:
    label = f"center {center:g}, width {width:g}, {function}"
    return Rendering(WindowChoice(name, label), lambda values: window(values, center, width, function))


def window(values: Doubles, center: float, width: float, function: str) -> Doubles:
    """Values brought to 0..1 by a window: PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3.

    width: at least 1 for LINEAR, above 0 for the others.
    """
    if function == "LINEAR":
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        return _clipped((values - (center - 0.5)) / (width - 1) + 0.5)
    if function == "LINEAR_EXACT":
        return _clipped((values - center) / width + 0.5)
    exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
    return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Shown:
    """Gray 0..1 for each of the values, what was chosen, and what there was to choose from."""

    gray: Doubles
    window: str
    windows: tuple[WindowChoice, ...]
    notes: tuple[str, ...]
    warnings: tuple[FilmWarning, ...]


def show(voi: Voi, values: Doubles, counts: Counts, body: Counts, asked: str | None) -> Shown:
    """Bring the film's values to gray by what is asked for, or by the first that leaves a picture to see.

    values: float64 [K], of each stored code; counts: how often each stands on the film, without padding; body: the
    same in the film's middle. asked: a name of the choices, "CENTER,WIDTH", or None.
    Raises SelectionError for a window that the film has not, NoPictureError when the one asked for shows nothing,
    UnreadableFilmError when the header's first window is not finite and none was asked for.
    """
    full = _full_range(values, counts, body)
    renderings = (*voi.offered, full)
    windows = tuple(rendering.choice for rendering in renderings)
    if asked is not None:
        chosen = _asked(asked, renderings)
        gray = chosen.apply(values)
        if not _leaves_contrast(gray, body):
            raise NoPictureError(f"The window {asked} leaves nothing to see on this film. {_offers(windows)}")
        return Shown(gray, chosen.choice.name, windows, (*voi.notes, *_notes(chosen)), ())
    if voi.flaw is not None:
        raise voi.flaw
    notes, passed = list(voi.notes), []
    for rendering in voi.offered:
        gray = rendering.apply(values)
        if _leaves_contrast(gray, body):
            break
        passed.append(rendering.choice.label)
    else:
        rendering, gray = full, full.apply(values)
    warnings: tuple[FilmWarning, ...] = ()
    if passed:
        told = (
            f"The film's own window ({'; '.join(passed)}) leaves nearly nothing to see on it: "
            f"shown by {rendering.choice.label} instead."
        )
        warnings = (FilmWarning("window", told),)
    return Shown(gray, rendering.choice.name, windows, (*notes, *_notes(rendering)), warnings)


def _notes(rendering: Rendering) -> tuple[str, ...]:
    name, label = rendering.choice.name, rendering.choice.label
    told = label if name == FULL else f"{label} applied" if name.startswith("lut") else f"window: {label}"
    return (told, *rendering.notes)


def _asked(asked: str, renderings: tuple[Rendering, ...]) -> Rendering:
    for rendering in renderings:
        if rendering.choice.name == asked:
            return rendering
    center, comma, width = asked.partition(",")
    try:
        numbers = float(center), float(width)
    except ValueError:
        numbers = None
    if not comma or numbers is None or not all(map(math.isfinite, numbers)) or numbers[1] < 1:
        windows = tuple(rendering.choice for rendering in renderings)
        raise SelectionError(f"{asked[:40]!r} is no window of this film. {_offers(windows)}")
    return _window(f"{numbers[0]:g},{numbers[1]:g}", *numbers, "LINEAR")


def _offers(windows: tuple[WindowChoice, ...]) -> str:
    there = "; ".join(f"{choice.name} ({choice.label})" for choice in windows)
    return f"There are {there}; or ask for CENTER,WIDTH in numbers, width 1 or more."


def _full_range(values: Doubles, counts: Counts, body: Counts) -> Rendering:
    """The film's own values, without those that stand far off, from black to white."""
    order = np.argsort(values, kind="stable")
    seen, counted, inner = values[order], counts[order], body[order]
    if not counted.any():
        counted = np.ones_like(counted)
    low, high = robust_limits(seen, counted, inner if inner.any() else counted)
    used = values[counts > 0] if counts.any() else values
    beyond = " without what stands far off" if (low, high) != (float(used.min()), float(used.max())) else ""
    label = f"no window: {low:g} is black, {high:g} white{beyond}"
    span = high - low if high > low else 1.0
    return Rendering(WindowChoice(FULL, label), lambda all_values: _clipped((all_values - low) / span))


def _leaves_contrast(gray: Doubles, body: Counts) -> bool:
    """Whether there is a picture: levels between the percentiles, and gray between black and white."""
    total = int(body.sum())
    if total == 0:
        return False
    order = np.argsort(gray, kind="stable")
    shares = np.cumsum(body[order]) / total
    low, high = (float(gray[order[np.searchsorted(shares, share)]]) for share in (0.02, 0.98))
    between = (gray > 0.5 / 255.0) & (gray < 254.5 / 255.0)
    return (high - low) * 255.0 >= LEAST_LEVELS and float(body[between].sum()) / total >= LEAST_GRAY


def _clipped(values: Doubles) -> Doubles:
    return np.asarray(np.clip(values, 0.0, 1.0), dtype=np.float64)
