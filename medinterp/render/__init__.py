"""Maps made visible: colour maps, overlays, PNG."""

from __future__ import annotations

from medinterp.render.colormaps import COLORMAPS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap, default_colormap
from medinterp.render.overlay import RenderOptions, encode_png, overlay, own_range, report_range, scaled

__all__ = [
    "COLORMAPS",
    "DEFAULT_COLORMAP",
    "SIGNED_COLORMAP",
    "RenderOptions",
    "colormap",
    "default_colormap",
    "encode_png",
    "overlay",
    "own_range",
    "report_range",
    "scaled",
]
