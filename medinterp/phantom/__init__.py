"""The demo model and the synthetic chest films, whose findings' true places are known, that it reads."""

from __future__ import annotations

from pathlib import Path

from medinterp.phantom.examples import ExampleFilm, example_films

__all__ = ["ExampleFilm", "example_films", "weights_directory"]


def weights_directory() -> Path:
    """Where the packaged model lies, as `save_pretrained` wrote it."""
    return Path(__file__).parent / "weights"
