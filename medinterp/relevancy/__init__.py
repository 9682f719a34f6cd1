"""From traces to maps, in numpy: methods, their registry, and the joining of tokens into words."""

from __future__ import annotations

from medinterp.relevancy.aggregate import select_map, word_maps
from medinterp.relevancy.method import Method
from medinterp.relevancy.registry import METHODS, compute_maps, get_method

__all__ = ["METHODS", "Method", "compute_maps", "get_method", "select_map", "word_maps"]
