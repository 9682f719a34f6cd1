"""The tables in data/: findings, cues, and sets of words, as TOML that a radiologist can read and extend."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table(name: str) -> dict[str, Any]:
    """data/NAME.toml."""
    return tomllib.loads((files("medinterp.report") / "data" / f"{name}.toml").read_text(encoding="utf-8"))


def word_set(name: str) -> frozenset[str]:
    """A set of words of data/words.toml, in base form."""
    return frozenset(str(table("words")[name]).split())
