"""Films: reading the bytes, and the geometry between a film's pixels and the model's grid."""

from __future__ import annotations

from medinterp.imaging import geometry
from medinterp.imaging.film import read_film, rgb8

__all__ = ["geometry", "read_film", "rgb8"]
