"""Eight synthetic films that a newcomer can try at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film

_SIZES = ((900, 1000), (1000, 900), (960, 960), (820, 1000))
_COUNT = 8


@dataclass(frozen=True)
class ExampleFilm:
    """A film to try: name (file stem), caption (what was drawn on it) and the PNG's bytes."""

    name: str
    caption: str
    png: bytes


@lru_cache(maxsize=1)
def example_films() -> tuple[ExampleFilm, ...]:
    """The eight examples, drawn from test seeds that no training has seen."""
    import cv2

    films = []
    for k in range(_COUNT):
        film = sample_film(TEST_SEEDS_START + k)
        width, height = _SIZES[k % len(_SIZES)]
        _, encoded = cv2.imencode(".png", draw_film(film, width, height).uint8())
        caption = ", ".join(" ".join(filter(None, (f.side, f.zone, f.name))) for f in film.findings)
        films.append(ExampleFilm(f"example-{k + 1}", caption, encoded.tobytes()))
    return tuple(films)
