"""The findings of a synthetic film: how each is placed, how it changes the film, and where exactly it lies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from medinterp.phantom.anatomy import (
    SIDE_SIGN,
    Anatomy,
    Canvas,
    Chest,
    diaphragm,
    heart_shape,
    lung_outer,
    noise_field,
    rib_middle,
    soft_step,
    zone_bounds,
)
from medinterp.types import BoolArray, Float32Array

NAMES = (
    "nodule",
    "consolidation",
    "atelectasis",
    "pleural effusion",
    "pneumothorax",
    "cardiomegaly",
    "rib fracture",
    "tube",
    "pacemaker",
)
ZONES = ("upper", "mid", "lower")
TUBE_LEVELS = ("high", "mid", "low")
NORMAL_RATIO = (0.38, 0.485)
ENLARGED_RATIO = (0.54, 0.68)
CELL = 1.0 / 16.0
AREA_IN_CELLS = {
    "nodule": (0.25, 4.0),
    "consolidation": (1.5, 16.0),
    "pleural effusion": (1.0, 12.0),
    "pneumothorax": (1.0, 8.0),
}


@dataclass(frozen=True)
class PlacedFinding:
    """One finding with its place in body coordinates (see `anatomy`).

    side: "left" or "right" of the patient, None for heart and tube; zone: a lung zone, "apical", a tube
    level or None; u, v: its centre; extent: its size (radius, height or width, by kind); angle in radians.
    """

    name: str
    side: str | None
    zone: str | None
    u: float
    v: float
    extent: float
    angle: float
    strength: float
    seed: int


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number between low and high, its logarithm uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def place_finding(
    rng: np.random.Generator, anatomy: Anatomy, name: str, side: str | None, zone: str | None
) -> PlacedFinding:
    """Draw size, place and strength of a finding on a chest."""
    strength = float(rng.uniform(0.8, 1.25))
    seed = int(rng.integers(2**31))
    u = v = extent = angle = 0.0
    sign = SIDE_SIGN[side] if side else 1.0
    if name in ("nodule", "consolidation"):
        area = log_uniform(rng, *AREA_IN_CELLS[name])
        extent = float(np.sqrt(area / np.pi)) * CELL
    elif name == "atelectasis":
        extent, angle = float(rng.uniform(0.065, 0.11)), float(rng.uniform(-0.45, 0.45))
    elif name == "pleural effusion":
        extent = float(rng.uniform(0.045, 0.26))
    elif name == "pneumothorax":
        extent = float(rng.uniform(0.022, 0.075))
    elif name == "cardiomegaly":
        extent = anatomy.cardiothoracic_ratio
    if name in ("nodule", "consolidation", "atelectasis", "rib fracture"):
        assert zone is not None
        top, bottom = zone_bounds(anatomy, zone)
        v = float(rng.uniform(top + 0.12 * (bottom - top), bottom - 0.12 * (bottom - top)))
        outer = float(lung_outer(anatomy, v))
        inner = anatomy.mediastinum + 0.02
        if zone == "lower" or (zone == "mid" and side == "left"):
            half = anatomy.cardiothoracic_ratio * anatomy.lung_width
            heart = 0.30 * half + sign * 0.95 * half if side == "left" else 0.70 * half
            inner = max(inner, heart if zone == "lower" else 0.55 * heart)
        reach = min(0.9 * extent, 0.35 * (outer - inner))
        low, high = inner + reach, outer - reach
        u = sign * float(rng.uniform(min(low, high), max(low, high)))
        if name == "rib fracture":
            rib = round((v - anatomy.rib_offset * anatomy.rib_spacing) / anatomy.rib_spacing)
            distance = float(rng.uniform(0.55, 0.85)) * outer
            heights = {k: rib_middle(anatomy, k, distance) for k in range(rib - 4, rib + 8)}
            v = min(heights.values(), key=lambda height: abs(height - v))
            u, extent = sign * distance, float(rng.uniform(0.012, 0.020))
    elif name == "pneumothorax":
        v = anatomy.apex + float(rng.uniform(0.16, 0.28))
    elif name == "tube":
        assert zone is not None
        low, high = {"high": (0.03, 0.065), "mid": (0.105, 0.14), "low": (0.18, 0.22)}[zone]
        v = anatomy.apex + float(rng.uniform(low, high))
    elif name == "pacemaker":
        u, v = sign * float(rng.uniform(0.24, 0.31)), anatomy.apex + float(rng.uniform(0.08, 0.13))
        extent, angle = float(rng.uniform(0.034, 0.046)), float(rng.uniform(-0.4, 0.4))
    return PlacedFinding(name, side, zone, u, v, extent, angle, strength, seed)


def _polyline_distance(canvas: Canvas, points: list[tuple[float, float]]) -> Float32Array:
    """Distance of every pixel from a chain of line segments."""
    best = np.full(canvas.u.shape, np.inf, dtype=np.float32)
    for (u0, v0), (u1, v1) in pairwise(points):
        du, dv = u1 - u0, v1 - v0
        along = np.clip(((canvas.u - u0) * du + (canvas.v - v0) * dv) / (du * du + dv * dv), 0.0, 1.0)
        best = np.minimum(best, np.hypot(canvas.u - u0 - along * du, canvas.v - v0 - along * dv))
    return best


def draw_finding(
    finding: PlacedFinding, anatomy: Anatomy, canvas: Canvas, chest: Chest, density: Float32Array
) -> tuple[Float32Array, BoolArray]:
    """Put a finding on a film: the new density [height, width] and the finding's exact mask."""
    draw = _DRAW[finding.name]
    changed, coverage = draw(finding, anatomy, canvas, chest, density)
    return changed.astype(np.float32), coverage > 0.5


_Drawn = tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]


def _nodule(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    du, dv = c.round_offsets(f.u, f.v)
    radius = np.hypot(du, dv)
    ripple = 1.0 + 0.06 * np.sin(3.0 * np.arctan2(dv, du) + f.angle + f.seed % 7)
    cover = soft_step(f.extent * ripple - radius, 0.005)
    return density + f.strength * 0.20 * cover, cover


def _consolidation(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    assert f.side is not None
    du, dv = c.round_offsets(f.u, f.v)
    rng = np.random.default_rng(f.seed)
    rough = noise_field(rng, c.width, c.height, 20)
    patchy = noise_field(rng, c.width, c.height, 40)
    radius = np.hypot(du, dv * 1.1)
    cover = soft_step(f.extent * (1.0 + 0.22 * rough) - radius, 0.014) * np.clip(chest.lungs[f.side], 0, 1)
    return density + f.strength * cover * (0.19 + 0.030 * patchy), cover


def _atelectasis(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    assert f.side is not None
    du, dv = c.u - f.u, c.v - f.v
    along = du * np.cos(f.angle) + dv * np.sin(f.angle)
    across = dv * np.cos(f.angle) - du * np.sin(f.angle)
    cover = soft_step(0.0105 - np.abs(across), 0.0035) * soft_step(f.extent - np.abs(along), 0.012)
    cover *= np.clip(chest.lungs[f.side], 0, 1)
    return density + f.strength * 0.17 * cover, cover


def _effusion(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    assert f.side is not None
    distance = np.abs(c.u)
    lateral = np.clip(distance / a.lung_width, 0.0, 1.0)
    base = float(diaphragm(a, 0.75 * a.lung_width, f.side))
    level = base - f.extent + 0.05 * (1.0 - lateral) ** 2 - 0.06 * np.clip(lateral - 0.6, 0.0, 1.0)
    cover = chest.lungs[f.side] * soft_step(c.v - level, 0.012)
    return density + cover * np.clip(0.40 + 0.22 * f.strength - density, 0.0, 0.30), cover


def _pneumothorax(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    assert f.side is not None
    distance = np.abs(c.u)
    fade = np.clip((f.v - c.v) / (f.v - a.apex), 0.0, 1.0)
    line = lung_outer(a, c.v - f.extent * 1.2 * fade) - f.extent * (0.35 + 0.65 * fade)
    line = np.where(c.v < f.v, line, 10.0)
    cover = chest.lungs[f.side] * soft_step(distance - line, 0.004)
    pleura = chest.lungs[f.side] * soft_step(0.0042 - np.abs(distance - line), 0.0025)
    darker = density - cover * (0.075 * f.strength + 0.012 * chest.texture)
    return darker + 0.10 * pleura, np.maximum(cover, pleura)


def _cardiomegaly(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    """The wide heart is part of the chest itself; its evidence is the heart's silhouette."""
    return density, heart_shape(a, c, a.cardiothoracic_ratio)


def _rib_fracture(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    du, dv = c.u - f.u, c.v - f.v
    tilt = 0.22
    along = np.abs(du + tilt * dv)
    near = soft_step(0.024 - np.abs(dv), 0.004)
    gap = soft_step(f.extent * 0.5 - along, 0.0035) * near
    ends = soft_step(0.006 - np.abs(along - f.extent * 0.5 - 0.006), 0.003) * soft_step(0.019 - np.abs(dv), 0.004)
    cover = soft_step(f.extent * 0.5 + 0.012 - along, 0.003) * near
    return density - 0.10 * f.strength * gap + 0.17 * f.strength * ends, cover


def _tube(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    above = soft_step(f.v - c.v, 0.004)
    wall = soft_step(0.0035 - np.abs(np.abs(c.u) - 0.0095), 0.002)
    inside = soft_step(0.0125 - np.abs(c.u), 0.003)
    tip = soft_step(0.004 - np.abs(c.v - f.v), 0.002) * inside
    change = above * (0.17 * wall + 0.07 * inside) + 0.16 * tip
    return density + f.strength * change, np.maximum(above * inside, tip)


def _pacemaker(f: PlacedFinding, a: Anatomy, c: Canvas, chest: Chest, density: Float32Array) -> _Drawn:
    du, dv = c.round_offsets(f.u, f.v)
    along = du * np.cos(f.angle) + dv * np.sin(f.angle)
    across = dv * np.cos(f.angle) - du * np.sin(f.angle)
    corner = np.hypot(np.maximum(np.abs(along) - f.extent * 0.6, 0), np.maximum(np.abs(across) - f.extent * 0.35, 0))
    box = soft_step(f.extent * 0.45 - corner, 0.004)
    heart_v = a.base - a.dome - 0.06
    lead = [(f.u * 0.9, f.v - 0.01), (f.u * 0.55, a.apex + 0.06), (0.012 * np.sign(f.u), a.apex + 0.20)]
    lead += [(-0.03, heart_v - 0.14), (0.02, heart_v - 0.02), (0.09, heart_v)]
    wire = soft_step(0.0034 - _polyline_distance(c, lead), 0.002)
    return density + 0.34 * box + 0.20 * wire * (1.0 - box), np.maximum(box, wire)


_DRAW = {
    "nodule": _nodule,
    "consolidation": _consolidation,
    "atelectasis": _atelectasis,
    "pleural effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "cardiomegaly": _cardiomegaly,
    "rib fracture": _rib_fracture,
    "tube": _tube,
    "pacemaker": _pacemaker,
}
