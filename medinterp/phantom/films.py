"""Synthetic chest films: the same seed gives the same film at any size, with each finding's exact truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.phantom.anatomy import (
    SIDE_SIGN,
    SIDES,
    Anatomy,
    Canvas,
    draw_chest,
    noise_field,
    sample_anatomy,
    soft_step,
)
from medinterp.phantom.findings import (
    ENLARGED_RATIO,
    NAMES,
    NORMAL_RATIO,
    TUBE_LEVELS,
    ZONES,
    PlacedFinding,
    draw_finding,
    place_finding,
)
from medinterp.phantom.reports import Fact, write_report
from medinterp.types import BoolArray, Float32Array

TEST_SEEDS_START = 10_000_000
"""Seeds below belong to training, calibration and tuning; these and above to tests."""

GRID = 16
Kind = tuple[str, str | None, str | None]
"""What is chosen of a finding before it is placed: name, side, zone."""
_LUNG_FINDINGS = ("nodule", "consolidation", "atelectasis")
_PAIRED = ("pleural effusion", "consolidation")


@dataclass(frozen=True)
class Distractors:
    """Things on a film that are no findings: nipple shadows, an ECG lead and the side marker."""

    nipples: tuple[float, ...]
    nipple_v: float
    lead: tuple[float, float, float, float] | None
    marker: str | None
    marker_size: float = 1.0


@dataclass(frozen=True)
class SyntheticFilm:
    """Everything that a film is drawn from. aspect is the width / height that it was composed for."""

    seed: int
    anatomy: Anatomy
    normal_ratio: float
    findings: tuple[PlacedFinding, ...]
    distractors: Distractors

    def without(self, finding: int) -> SyntheticFilm:
        """The exact counterfactual: the same film with one finding never drawn."""
        kept = tuple(f for k, f in enumerate(self.findings) if k != finding)
        return replace(self, findings=kept)

    @property
    def ratio(self) -> float:
        """The cardiothoracic ratio as drawn."""
        enlarged = any(f.name == "cardiomegaly" for f in self.findings)
        return self.anatomy.cardiothoracic_ratio if enlarged else self.normal_ratio


def sample_film(seed: int) -> SyntheticFilm:
    """The film of a seed: a chest with one to three findings and some distractors."""
    rng = np.random.default_rng([seed, 0x5EED])
    count = int(rng.choice([1, 2, 3], p=[0.40, 0.35, 0.25]))
    normal_ratio = float(rng.uniform(*NORMAL_RATIO))
    return compose_film(seed, rng, normal_ratio, choose_kinds(rng, count))


def compose_film(seed: int, rng: np.random.Generator, normal_ratio: float, chosen: Sequence[Kind]) -> SyntheticFilm:
    """A film with the chosen findings, everything else of it drawn from `rng`."""
    enlarged = any(name == "cardiomegaly" for name, _, _ in chosen)
    ratio = float(rng.uniform(*ENLARGED_RATIO)) if enlarged else normal_ratio
    anatomy = sample_anatomy(rng, ratio)
    findings = tuple(place_finding(rng, anatomy, *kind) for kind in chosen)
    order = sorted(findings, key=lambda f: (NAMES.index(f.name), f.side != "right"))
    return SyntheticFilm(seed, anatomy, normal_ratio, tuple(order), _sample_distractors(rng))


def sample_crowded_film(seed: int) -> SyntheticFilm:
    """A chest with a finding in most zones of both lungs, up to nine in all: for training the tower only."""
    rng = np.random.default_rng([seed, 0xC40D])
    enlarged = bool(rng.random() < 0.3)
    normal_ratio = float(rng.uniform(*NORMAL_RATIO))
    anatomy = sample_anatomy(rng, float(rng.uniform(*ENLARGED_RATIO)) if enlarged else normal_ratio)
    chosen: list[Kind] = []
    for side in SIDES:
        for zone in ZONES:
            kind = rng.random()
            if kind < 0.15:
                continue
            if kind < 0.30 and zone == "upper":
                chosen.append(("pneumothorax", side, "apical"))
            elif kind < 0.30 and zone == "lower":
                chosen.append(("pleural effusion", side, None))
            else:
                name = rng.choice([*_LUNG_FINDINGS, "rib fracture"], p=[0.35, 0.2, 0.2, 0.25])
                chosen.append((str(name), side, zone))
    if enlarged:
        chosen.append(("cardiomegaly", None, None))
    if rng.random() < 0.3:
        chosen.append(("tube", None, str(rng.choice(TUBE_LEVELS))))
    if rng.random() < 0.3:
        chosen.append(("pacemaker", str(rng.choice(SIDES)), None))
    findings = tuple(place_finding(rng, anatomy, *kind) for kind in chosen)
    return SyntheticFilm(seed, anatomy, normal_ratio, findings, _sample_distractors(rng))


def choose_kinds(
    rng: np.random.Generator, count: int, names: Sequence[str] = NAMES, first: Sequence[Kind] = ()
) -> list[Kind]:
    """`count` findings that do not stand in each other's place: those of `first`, then any of `names`."""
    chosen = list(first)
    taken = {(side, zone) for _, side, zone in first}
    while len(chosen) < count:
        name = str(rng.choice(names))
        if name in [n for n, _, _ in chosen]:
            continue
        side = str(rng.choice(SIDES))
        if name in ("cardiomegaly", "tube"):
            chosen.append((name, None, str(rng.choice(TUBE_LEVELS)) if name == "tube" else None))
            continue
        if name == "pacemaker":
            chosen.append((name, side, None))
            continue
        pair = name in _PAIRED and len(chosen) + 2 <= count and bool(rng.random() < 0.35)
        drawn: list[Kind] = []
        for one in SIDES if pair else (side,):
            zone = {"pleural effusion": "lower", "pneumothorax": "upper"}.get(name) or str(rng.choice(ZONES))
            if (one, zone) in taken:
                break
            if name in _LUNG_FINDINGS or name == "rib fracture":
                drawn.append((name, one, zone))
            else:
                drawn.append((name, one, "apical" if name == "pneumothorax" else None))
            taken.add((one, zone))
        chosen += drawn
    return chosen


def _sample_distractors(rng: np.random.Generator) -> Distractors:
    kind = rng.random()
    both = (-float(rng.uniform(0.20, 0.27)), float(rng.uniform(0.20, 0.27)))
    nipples = both if kind < 0.12 else ((both[int(rng.integers(2))],) if kind < 0.20 else ())
    lead = None
    if rng.random() < 0.25:
        u, v, drift, end = (float(rng.uniform(*r)) for r in ((-0.38, 0.38), (0.25, 0.6), (-0.3, 0.3), (0.9, 1.1)))
        lead = (u, v, drift, end)
    marker = str(rng.choice(["L", "R"])) if rng.random() < 0.7 else None
    return Distractors(nipples, float(rng.uniform(0.60, 0.66)), lead, marker)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A film and its truth: pixels float32 [height, width] in 0..1, a mask [height, width] for each finding."""

    pixels: Float32Array
    masks: tuple[BoolArray, ...]

    def uint16(self) -> npt.NDArray[np.uint16]:
        """The pixels as a 16-bit picture."""
        return np.round(self.pixels * 65535.0).astype(np.uint16)

    def uint8(self) -> npt.NDArray[np.uint8]:
        """The pixels as an 8-bit picture."""
        return np.round(self.pixels * 255.0).astype(np.uint8)


def draw_film(film: SyntheticFilm, width: int, height: int, *, aspect: float | None = None) -> Drawing:
    """Draw a film at a size in pixels.

    aspect: width / height that round things are round at, when the drawing will be stretched to another
    shape afterwards (as image processors do); by default that of the drawing itself.
    """
    anatomy = film.anatomy
    canvas = Canvas(anatomy, width, height, aspect)
    chest = draw_chest(anatomy, canvas, film.ratio)
    density = _draw_distractors(film.distractors, canvas, chest.density)
    masks = []
    for finding in film.findings:
        density, mask = draw_finding(finding, anatomy, canvas, chest, density)
        masks.append(mask)
    rng = np.random.default_rng([film.seed, 0x0015E])
    grain = noise_field(rng, width, height, 256)
    if min(width, height) > 256:
        grain = grain + rng.standard_normal((height, width), dtype=np.float32)
    exposed = (density - 0.42) * anatomy.contrast + 0.42 + anatomy.exposure
    exposed = exposed / 0.88 + anatomy.noise * grain * (0.5 + 0.5 * np.clip(density, 0, 1))
    exposed = _draw_marker(film.distractors, canvas, exposed.astype(np.float32))
    return Drawing(np.clip(exposed, 0.0, 1.0).astype(np.float32), tuple(masks))


def _draw_distractors(distractors: Distractors, canvas: Canvas, density: Float32Array) -> Float32Array:
    for u in distractors.nipples:
        du, dv = canvas.round_offsets(u, distractors.nipple_v)
        density = density + 0.050 * soft_step(0.017 - np.hypot(du, dv), 0.011)
    if distractors.lead is not None:
        u, v, drift, end = distractors.lead
        du, dv = canvas.round_offsets(u, v)
        ring = np.abs(np.hypot(du, dv) - 0.012)
        wire_u = u + drift * np.clip((canvas.v - v) / (end - v), 0, 1) ** 2
        wire = soft_step(0.0022 - np.abs(canvas.u - wire_u), 0.0015) * soft_step(canvas.v - v - 0.012, 0.004)
        density = density + 0.20 * soft_step(0.0035 - ring, 0.002) + 0.13 * wire
    return density.astype(np.float32)


def _draw_marker(distractors: Distractors, canvas: Canvas, exposed: Float32Array) -> Float32Array:
    if distractors.marker is None:
        return exposed
    cover = marker_cover(distractors.marker, canvas.width, canvas.height, distractors.marker_size)
    return exposed + (0.97 - exposed) * cover


def marker_cover(marker: str, width: int, height: int, marker_size: float = 1.0) -> Float32Array:
    """How much of every pixel the letter of a side marker covers, float32 [height, width] in 0..1."""
    side = "left" if marker == "L" else "right"
    tile = np.zeros((64, 64), dtype=np.uint8)
    cv2.putText(tile, marker, (12, 54), cv2.FONT_HERSHEY_SIMPLEX, 2.0, 255, 7, cv2.LINE_AA)
    tall, wide = (max(8, round(side_length * 0.055 * marker_size)) for side_length in (height, width))
    top = round(height * 0.03)
    left = round(width * (0.5 + SIDE_SIGN[side] * 0.44)) - wide // 2
    left = min(max(left, 0), width - wide)
    cover = np.zeros((height, width), dtype=np.float32)
    letter = cv2.resize(tile, (wide, tall), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    cover[top : top + tall, left : left + wide] = letter
    return cover


def cells_of(mask: BoolArray, rows: int = GRID, columns: int = GRID) -> Float32Array:
    """Share of every cell of a grid that the mask covers, float32 [rows, columns]."""
    covered = cv2.resize(mask.astype(np.float32), (columns * 16, rows * 16), interpolation=cv2.INTER_AREA)
    return np.asarray(covered.reshape(rows, 16, columns, 16).mean(axis=(1, 3)), dtype=np.float32)


def box_of_mask(mask: BoolArray) -> tuple[float, float, float, float]:
    """The smallest box round a mask: top, left, bottom, right as shares of the film; zeros where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    height, width = mask.shape
    return rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width


def size_in_cells(mask: BoolArray, grid: int = GRID) -> float:
    """Area of a mask in cells of the grid."""
    return float(mask.mean() * grid * grid)


def size_word(cells: float) -> str:
    """How a report calls a finding of that many cells."""
    return "small" if cells < 1.5 else "moderate" if cells < 5.0 else "large"


def facts_of(film: SyntheticFilm, drawing: Drawing) -> list[Fact]:
    """What a true report of the film says, in the order of film.findings."""
    return [
        Fact(f.name, f.side, f.zone, size_word(size_in_cells(mask)))
        for f, mask in zip(film.findings, drawing.masks, strict=True)
    ]


def reference_report(film: SyntheticFilm, drawing: Drawing) -> str:
    """The film's report in the phrasing that belongs to its seed."""
    return write_report(facts_of(film, drawing), np.random.default_rng([film.seed, 0x9E9]))
