"""A map over its film."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.imaging import gray8
from medinterp.imaging.geometry import upsample
from medinterp.render.colormaps import colormap, default_colormap
from medinterp.render.contours import CONTOUR_LEVELS, draw_contours
from medinterp.types import BoolArray, Film, Float32Array, Quantity, RelevancyMap

Gray = TypeVar("Gray", np.uint8, np.uint16)

_COMMON = 0.9
"""Share of the words whose peaks lie within the report's range."""
STEPS = 1275
"""Of the scale on which a cut-off is decided; the page's canvas has the same ones."""


@dataclass(frozen=True)
class RenderOptions:
    """How a map is drawn.

    opacity: 0..1, that of the top of the scale; colormap: see `colormap`, None for `default_colormap`; contours: lines
    at CONTOUR_LEVELS; scale: "report" (one range for all words, the default) or "map" (this map's own
    maximum: two words' colours then do not compare); size: longest side in pixels, None for the film's own;
    without_sinks: flagged sink cells are left out before the map is drawn; quantity: relevancy, or of a consensus the
    members' disagreement; cutoff: what stands lower on the scale, 0..1 (for signed maps nearer to its middle), is not
    drawn.
    """

    opacity: float = 0.5
    colormap: str | None = None
    contours: bool = False
    scale: Literal["report", "map"] = "report"
    size: int | None = None
    without_sinks: bool = False
    quantity: Quantity = "relevancy"
    cutoff: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.opacity <= 1.0:
            raise ValueError(f"opacity is between 0 and 1, not {self.opacity}")
        if not 0.0 <= self.cutoff < 1.0:
            raise ValueError(f"cutoff is between 0 and 1, not {self.cutoff}")
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


def canvas(film: Film, size: int | None = None) -> npt.NDArray[np.uint8]:
    """What a map is drawn on: the film's grays, uint8 [height, width], its longer side `size` where one is given."""
    gray = gray8(film)
    return gray if size is None else resized(gray, size)


def resized(gray: npt.NDArray[Gray], size: int) -> npt.NDArray[Gray]:
    """Grays [height, width] with `size` pixels on the longer side, each the mean of what it covers."""
    if size == max(gray.shape):
        return gray
    height, width = (max(1, round(side * size / max(gray.shape))) for side in gray.shape)
    smaller: npt.NDArray[Gray] = cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return smaller


def _below(shares: Float32Array, signed: bool, cutoff: float) -> BoolArray:
    """Where a map is weaker than `cutoff`, on the steps that the page draws by: the same pixels in both."""
    steps = np.arange(STEPS + 1) / STEPS
    weak = (np.abs(2 * steps - 1) if signed else steps) < cutoff
    return np.asarray(np.take(weak, np.floor(shares * np.float32(STEPS) + np.float32(0.5)).astype(np.int32)))


def overlay(
    film: Film,
    map: RelevancyMap,
    options: RenderOptions,
    *,
    value_range: tuple[float, float] | None = None,
    base: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """The film with a map over it, uint8 [height, width, 3] RGB at the film's own size (or options.size).

    Where a map has nothing the film stays as it is: opacity grows with the scaled value (see `scaled`), up to
    options.opacity (for signed maps to its distance from 0). Colours follow the scaled value. value_range
    None scales to this map alone. base: what `canvas` makes of the film and options.size, where somebody has kept it.

    At each pixel, with s the scaled map between the cells' centres (`upsample`), gray the canvas, and colour the 256
    of the colour map, within 1 gray level:

        alpha = opacity s, for signed maps opacity |2 s - 1|; 0 where s, or |2 s - 1|, is below options.cutoff
        picture = gray + alpha (colour[round(255 s)] - gray)
    """
    gray = canvas(film, options.size) if base is None else base
    height, width = gray.shape
    shares = upsample(scaled(map, value_range or own_range(map)), height, width)
    strength = np.abs(shares * np.float32(2) - np.float32(1)) if map.signed else shares
    table = colormap(options.colormap or default_colormap(map.signed))
    # OpenCV's own loops: numpy's take ten times as long for the same.
    colours = cv2.applyColorMap(cv2.convertScaleAbs(shares, alpha=255.0), table[:, None, :])
    alpha = strength * np.float32(options.opacity)
    if options.cutoff > 0:
        alpha[_below(shares, map.signed, options.cutoff)] = 0
    film_rgb = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    blended = np.asarray(cv2.blendLinear(film_rgb, colours, np.float32(1) - alpha, alpha), dtype=np.uint8)
    if not options.contours:
        return blended
    return draw_contours(blended, strength, [table[round(level * 255)] for level in CONTOUR_LEVELS])
