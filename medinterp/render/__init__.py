"""Maps made visible: colour maps, overlays, PNG."""

from __future__ import annotations

from medinterp.render.colormaps import COLORMAPS, DEFAULT_COLORMAP, SIGNED_COLORMAP, colormap, default_colormap
from medinterp.render.contours import CONTOUR_LEVELS
from medinterp.render.overlay import RenderOptions, canvas, overlay, own_range, report_range, resized, scaled
from medinterp.render.picture import Picture
from medinterp.render.png import encode_png

__all__ = [
    "COLORMAPS",
    "CONTOUR_LEVELS",
    "DEFAULT_COLORMAP",
    "SIGNED_COLORMAP",
    "Picture",
    "RenderOptions",
    "canvas",
    "colormap",
    "default_colormap",
    "encode_png",
    "overlay",
    "own_range",
    "report_range",
    "resized",
    "scaled",
]
