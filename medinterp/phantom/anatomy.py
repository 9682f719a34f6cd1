"""The healthy chest of a synthetic film: where lungs, heart, ribs and diaphragm lie, and how bright they are.

Everything is written in *body coordinates*: u is the distance from the midline (negative on the
patient's right, which is the film's left), v runs from 0 at the top of the film to 1 at its bottom,
both in units of the film. A `Canvas` carries those coordinates for every pixel of a film of any size,
so the same chest can be drawn at 256 x 256 or 2048 x 1600.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.types import Float32Array

SIDES = ("right", "left")
SIDE_SIGN = {"right": -1.0, "left": 1.0}


def soft_step(distance: npt.NDArray[np.floating], softness: float) -> Float32Array:
    """A smooth 0-to-1 edge: 0.5 where `distance` is 0, 1 where it is `softness` or more."""
    scaled = np.clip(distance / (2.0 * softness) + 0.5, 0.0, 1.0)
    return np.asarray(scaled * scaled * (3.0 - 2.0 * scaled), dtype=np.float32)


@dataclass(frozen=True)
class Anatomy:
    """One person's chest. Lengths are fractions of the film, angles are radians."""

    rotation: float
    scale_u: float
    scale_v: float
    shift_u: float
    shift_v: float
    apex: float
    base: float
    dome: float
    lung_width: float
    mediastinum: float
    shoulder: float
    rib_spacing: float
    rib_offset: float
    rib_slope: float
    cardiothoracic_ratio: float
    exposure: float
    contrast: float
    noise: float
    texture_seed: int


def sample_anatomy(rng: np.random.Generator, cardiothoracic_ratio: float) -> Anatomy:
    """A chest drawn at random, with the heart as wide as asked."""

    def u(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    return Anatomy(
        rotation=u(-0.06, 0.06),
        scale_u=u(0.92, 1.06),
        scale_v=u(0.93, 1.05),
        shift_u=u(-0.025, 0.025),
        shift_v=u(-0.02, 0.02),
        apex=u(0.10, 0.14),
        base=u(0.74, 0.82),
        dome=u(0.05, 0.09),
        lung_width=u(0.355, 0.40),
        mediastinum=u(0.048, 0.062),
        shoulder=u(0.10, 0.16),
        rib_spacing=u(0.072, 0.086),
        rib_offset=u(0.0, 1.0),
        rib_slope=u(0.10, 0.22),
        cardiothoracic_ratio=cardiothoracic_ratio,
        exposure=u(-0.06, 0.06),
        contrast=u(0.85, 1.15),
        noise=u(0.006, 0.022),
        texture_seed=int(rng.integers(2**31)),
    )


class Canvas:
    """Body coordinates of every pixel of a film: u, v float32 [height, width]; aspect is width / height."""

    def __init__(self, anatomy: Anatomy, width: int, height: int, aspect: float | None = None) -> None:
        self.width, self.height = width, height
        self.aspect = width / height if aspect is None else aspect
        x = (np.arange(width, dtype=np.float32) + 0.5) / width - 0.5 - anatomy.shift_u
        y = (np.arange(height, dtype=np.float32) + 0.5) / height - 0.5 - anatomy.shift_v
        cos, sin = float(np.cos(anatomy.rotation)), float(np.sin(anatomy.rotation))
        self.u = np.asarray((cos * x[None, :] + sin * y[:, None]) / anatomy.scale_u, dtype=np.float32)
        self.v = np.asarray((-sin * x[None, :] + cos * y[:, None]) / anatomy.scale_v + 0.5, dtype=np.float32)

    def round_offsets(self, u: float, v: float) -> tuple[Float32Array, Float32Array]:
        """Offsets from (u, v) in which a circle looks round on the film and keeps its area in cells."""
        stretch = float(np.sqrt(self.aspect))
        return (self.u - u) * stretch, (self.v - v) / stretch


def lung_outer(anatomy: Anatomy, v: Float32Array | float) -> Float32Array:
    """Distance from the midline to the outer lung border at height v; 0 above the apex."""
    depth = np.clip((np.asarray(v, dtype=np.float32) - anatomy.apex) / (0.80 - anatomy.apex), 0.0, 1.2)
    return np.asarray(anatomy.lung_width * (0.10 * depth + 0.90 * np.tanh(3.2 * depth) ** 0.6), dtype=np.float32)


def diaphragm(anatomy: Anatomy, distance: Float32Array | float, side: str) -> Float32Array:
    """Height v of the diaphragm at a distance from the midline; the right dome stands a little higher."""
    distance = np.asarray(distance, dtype=np.float32)
    crown = anatomy.base - anatomy.dome + (0.0 if side == "right" else 0.02)
    return np.asarray(crown + anatomy.dome * ((distance - 0.17) / 0.17) ** 2, dtype=np.float32)


def zone_bounds(anatomy: Anatomy, zone: str) -> tuple[float, float]:
    """The heights v between which a lung zone lies: thirds from the apex to the dome of the diaphragm."""
    top, bottom = anatomy.apex, anatomy.base - anatomy.dome + 0.02
    third = (bottom - top) / 3.0
    k = ("upper", "mid", "lower").index(zone)
    return top + k * third, top + (k + 1) * third


def heart_shape(anatomy: Anatomy, canvas: Canvas, ratio: float, softness: float = 0.008) -> Float32Array:
    """Coverage (0..1) of the heart whose width is `ratio` of the chest's inner width."""
    half = 0.5 * ratio * 2.0 * anatomy.lung_width
    centre_u, centre_v = 0.30 * half, anatomy.base - anatomy.dome - 0.085
    du, dv = canvas.u - centre_u, canvas.v - centre_v
    tilted_u, tilted_v = du * 0.96 + dv * 0.28, dv * 0.96 - du * 0.28
    half_height = 0.115 + 0.25 * half
    radius = np.sqrt((tilted_u / half) ** 2 + (tilted_v / half_height) ** 2)
    return soft_step((1.0 - radius) * half, softness)


def rib_phase(anatomy: Anatomy, distance: Float32Array, v: Float32Array) -> Float32Array:
    """Position in rib spacings: whole numbers are the middle lines of ribs."""
    course = anatomy.rib_slope * distance + 0.9 * (distance - 0.15) ** 2 - 0.16
    return np.asarray((v - course) / anatomy.rib_spacing - anatomy.rib_offset, dtype=np.float32)


def rib_middle(anatomy: Anatomy, rib: int, distance: float) -> float:
    """Height v of the middle line of a rib at a distance from the midline."""
    course = anatomy.rib_slope * distance + 0.9 * (distance - 0.15) ** 2 - 0.16
    return float((rib + anatomy.rib_offset) * anatomy.rib_spacing + course)


def noise_field(rng: np.random.Generator, width: int, height: int, grid: int) -> Float32Array:
    """Smooth noise of unit variance whose grain is 1/grid of the film."""
    coarse = rng.standard_normal((grid, grid), dtype=np.float32)
    if (height, width) == (grid, grid):
        return coarse
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Chest:
    """A healthy chest drawn on a canvas: density float32 [height, width] and the parts that findings need.

    lungs: coverage (0..1) of each lung where the heart does not lie over it.
    """

    density: Float32Array
    lungs: dict[str, Float32Array]
    texture: Float32Array


def draw_chest(anatomy: Anatomy, canvas: Canvas, ratio: float) -> Chest:
    """Draw a healthy chest with a heart of the given cardiothoracic ratio."""
    u, v = canvas.u, canvas.v
    distance = np.abs(u)
    outer = lung_outer(anatomy, v)
    rng = np.random.default_rng(anatomy.texture_seed)
    slow = noise_field(rng, canvas.width, canvas.height, 8)
    middle = noise_field(rng, canvas.width, canvas.height, 48)
    fine = noise_field(rng, canvas.width, canvas.height, 128)

    shoulders = 0.11 + 0.36 * soft_step(v - anatomy.shoulder * (0.4 + 1.6 * distance), 0.05)
    body = soft_step(shoulders + 0.03 * v - distance, 0.012)
    lungs = {}
    for side in SIDES:
        on_side = soft_step(u * SIDE_SIGN[side] - anatomy.mediastinum, 0.012)
        above = soft_step(diaphragm(anatomy, distance, side) - v, 0.006)
        lungs[side] = on_side * above * soft_step(outer - distance, 0.007) * soft_step(v - anatomy.apex, 0.012)
    lung = lungs["right"] + lungs["left"]

    density = body * (0.46 + 0.05 * v + 0.012 * slow)
    density -= lung * (0.30 - 0.05 * distance)
    hilum = np.exp(-(((distance - 0.10) / 0.045) ** 2) - ((v - 0.42) / 0.09) ** 2)
    density += lung * (0.075 * hilum + 0.011 * middle * (1.2 - 2.0 * distance) + 0.005 * fine)

    phase = rib_phase(anatomy, distance, v)
    offset = np.abs(phase - np.round(phase)) * anatomy.rib_spacing
    thorax = soft_step(outer + 0.02 - distance, 0.01) * soft_step(v - anatomy.apex + 0.01, 0.02)
    thorax *= soft_step(anatomy.base + 0.03 - v, 0.04)
    rib = soft_step(0.0125 - offset, 0.004) * soft_step(distance - 0.05, 0.01) * thorax
    edge = soft_step(offset - 0.0075, 0.003) * rib
    density += 0.050 * rib + 0.022 * edge

    clavicle_v = anatomy.apex + 0.055 - 0.12 * distance + 0.35 * (distance - 0.2) ** 2
    clavicle = soft_step(0.0135 - np.abs(v - clavicle_v), 0.004)
    clavicle *= soft_step(distance - 0.045, 0.01) * soft_step(0.37 - distance, 0.01)
    density += 0.075 * clavicle

    density += body * 0.16 * soft_step(anatomy.mediastinum + 0.012 - distance, 0.018)
    knob = np.sqrt((u - anatomy.mediastinum) ** 2 + (v - anatomy.apex - 0.17) ** 2)
    density += 0.12 * lungs["left"] * soft_step(0.034 - knob, 0.008)
    vertebra = 0.5 + 0.5 * np.cos(2.0 * np.pi * v / 0.062)
    density += body * soft_step(0.032 - distance, 0.01) * (0.03 + 0.02 * vertebra)
    airway = soft_step(0.013 - distance, 0.005) * soft_step(anatomy.apex + 0.20 - v, 0.01)
    density -= body * 0.055 * airway

    heart = heart_shape(anatomy, canvas, ratio)
    density += heart * (0.05 + lung * 0.25)
    aerated = {side: np.asarray(part * (1.0 - heart), dtype=np.float32) for side, part in lungs.items()}
    return Chest(density=density.astype(np.float32), lungs=aerated, texture=middle)
