"""A map over its film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.imaging import rgb8
from medinterp.imaging.geometry import upsample
from medinterp.render.colormaps import colormap, default_colormap
from medinterp.types import Film, Float32Array, Quantity, RelevancyMap

_COMMON = 0.9
"""Share of the words whose peaks lie within the report's range."""
CONTOUR_LEVELS = (0.5, 0.75)
"""Where contours run, as shares of the scale."""


@dataclass(frozen=True)
class RenderOptions:
    """How a map is drawn.

    opacity: 0..1, that of the top of the scale; colormap: see `colormap`, None for `default_colormap`; contours: lines
    at CONTOUR_LEVELS; scale: "report" (one range for all words, the default) or "map" (this map's own
    maximum: two words' colours then do not compare); size: longest side in pixels, None for the film's own;
    without_sinks: flagged sink cells are left out before the map is drawn; quantity: relevancy, or of a consensus the
    members' disagreement.
    """

    opacity: float = 0.5
    colormap: str | None = None
    contours: bool = False
    scale: Literal["report", "map"] = "report"
    size: int | None = None
    without_sinks: bool = False
    quantity: Quantity = "relevancy"

    def __post_init__(self) -> None:
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity is between 0 and 1, not {self.opacity}")
        if self.scale not in ("report", "map"):
            raise ValueError(f"scale is report or map, not {self.scale!r}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is a number of pixels, not {self.size}")
        if self.colormap is not None:
            colormap(self.colormap)


def report_range(word_maps: Float32Array, signed: bool) -> tuple[float, float]:
    """The range of all words' maps [words, rows, columns]: (0, m), or (-m, m) for signed maps.

    One range for every word, so that a word that drew nothing from the film looks empty (trap 12). m is what
    nine words in ten stay below at their peaks: the few sharpest words are drawn at the top of the scale, and do
    not make all others invisible. Tokens that belong to no word (punctuation, line ends) do not count: nobody can
    click them.
    """
    if not len(word_maps):
        return _range(word_maps, signed)
    peaks = np.max(np.abs(word_maps) if signed else word_maps, axis=(1, 2), initial=0.0)
    top = float(np.quantile(peaks, _COMMON, method="higher")) or float(peaks.max())
    return (-top, top) if signed else (0.0, top)


def own_range(map: RelevancyMap) -> tuple[float, float]:
    """The range of this map alone: its own maximum is the top of the scale."""
    return _range(map.values, map.signed)


def _range(values: Float32Array, signed: bool) -> tuple[float, float]:
    top = float(np.max(np.abs(values) if signed else values, initial=0.0))
    return (-top, top) if signed else (0.0, top)


def scaled(map_: RelevancyMap, value_range: tuple[float, float]) -> Float32Array:
    """Where the map's values stand on the colour scale, float32 [rows, columns] in 0..1 (all 0 on an empty range).

    The square root of their share of the range (for signed maps on both sides of 0.5): a value that reaches a
    third of the range can be seen on a gray film, one of a hundredth cannot. The same curve for every word.
    """
    low, high = value_range
    if high <= low:
        return np.zeros_like(map_.values)
    shares: Float32Array = np.clip((map_.values - low) / np.float32(high - low), 0.0, 1.0).astype(np.float32)
    if not map_.signed:
        return np.sqrt(shares)
    distance = 2.0 * shares - 1.0
    return np.asarray(0.5 + 0.5 * np.sign(distance) * np.sqrt(np.abs(distance)), dtype=np.float32)


def overlay(
    film: Film, map: RelevancyMap, options: RenderOptions, *, value_range: tuple[float, float] | None = None
) -> npt.NDArray[np.uint8]:
    """The film with a map over it, uint8 [height, width, 3] RGB at the film's own size (or options.size).

    Where a map has nothing the film stays as it is: opacity grows with the scaled value (see `scaled`), up to
    options.opacity (for signed maps to its distance from 0). Colours follow the scaled value. value_range
    None scales to this map alone.
    """
    base = rgb8(film)
    height, width = base.shape[:2]
    if options.size is not None:
        factor = options.size / max(height, width)
        width, height = max(1, round(width * factor)), max(1, round(height * factor))
        base = np.asarray(cv2.resize(base, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    shares = upsample(scaled(map, value_range or own_range(map)), height, width)
    strength = np.abs(shares - 0.5) * 2.0 if map.signed else shares
    table = colormap(options.colormap or default_colormap(map.signed))
    colours = table[np.round(shares * 255.0).astype(np.uint8)].astype(np.float32)
    alpha = (np.float32(options.opacity) * strength)[..., None]
    blended = np.round(base + alpha * (colours - base)).astype(np.uint8)
    if options.contours:
        _draw_contours(blended, strength.astype(np.float32), table)
    return blended


def _draw_contours(
    picture: npt.NDArray[np.uint8], strength: Float32Array, table: npt.NDArray[np.uint8]
) -> None:
    """Lines around what lies above each level, in the colour of that level; drawn in place."""
    thickness = max(1, round(max(picture.shape[:2]) / 500))
    for level in CONTOUR_LEVELS:
        inside = (strength >= level).astype(np.uint8)
        lines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        colour = tuple(int(channel) for channel in table[round(level * 255)])
        cv2.drawContours(picture, lines, -1, colour, thickness, cv2.LINE_AA)


def encode_png(rgb: npt.NDArray[np.uint8]) -> bytes:
    """A picture (uint8 [height, width, 3] RGB or [height, width] gray) as PNG bytes."""
    ordered = rgb[..., ::-1] if rgb.ndim == 3 else rgb
    written, data = cv2.imencode(".png", np.ascontiguousarray(ordered))
    if not written:
        raise ValueError(f"a picture of shape {rgb.shape} and type {rgb.dtype} cannot be written as PNG")
    return bytes(data)
