"""The tables in data/: findings, cues, and sets of words, as TOML that a radiologist can read and extend."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from medinterp.report.tokens import base_form


@cache
def table(name: str) -> dict[str, Any]:
    """data/NAME.toml."""
    return tomllib.loads((files("medinterp.report") / "data" / f"{name}.toml").read_text(encoding="utf-8"))


def word_set(name: str, *, written: bool = False) -> frozenset[str]:
    """A set of words of data/words.toml, in base form; written: as they are written."""
    words = str(table("words")[name]).split()
    return frozenset(words if written else map(base_form, words))
