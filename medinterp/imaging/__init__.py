"""Films: reading the bytes, and the geometry between a film's pixels and the model's grid."""

from __future__ import annotations

from medinterp.imaging import geometry
from medinterp.imaging.film import gray8, read_film, rgb8
from medinterp.imaging.gate import look, withhold
from medinterp.imaging.limits import FilmLimits
from medinterp.imaging.sources import open_film

__all__ = ["FilmLimits", "geometry", "gray8", "look", "open_film", "read_film", "rgb8", "withhold"]
