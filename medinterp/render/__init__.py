"""Maps made visible: colour maps, overlays, PNG."""

from __future__ import annotations

from medinterp.render.colormaps import COLORMAPS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap, default_colormap
from medinterp.render.overlay import CONTOUR_LEVELS, RenderOptions, encode_png, overlay, report_range, scaled

__all__ = [
    "COLORMAPS",
    "CONTOUR_LEVELS",
    "DEFAULT_COLORMAP",
    "SIGNED_COLORMAP",
    "RenderOptions",
    "colormap",
    "default_colormap",
    "encode_png",
    "overlay",
    "report_range",
    "scaled",
]
