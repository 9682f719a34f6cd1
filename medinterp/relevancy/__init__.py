"""From traces to maps, in numpy: methods, their registry, and the joining of tokens into words."""

from __future__ import annotations

from medinterp.relevancy.aggregate import quantity_of, select_map, word_maps
from medinterp.relevancy.method import Method, Setting
from medinterp.relevancy.region import Region, RegionWord, box_coverage, cells_coverage, rank_words
from medinterp.relevancy.registry import (
    ATTENTION_METHODS,
    METHODS,
    TRACE_METHODS,
    add_measured,
    compute_maps,
    get_method,
)

__all__ = [
    "ATTENTION_METHODS",
    "METHODS",
    "TRACE_METHODS",
    "Method",
    "Region",
    "RegionWord",
    "Setting",
    "add_measured",
    "box_coverage",
    "cells_coverage",
    "compute_maps",
    "get_method",
    "quantity_of",
    "rank_words",
    "select_map",
    "word_maps",
]
