"""Pictures of the page: atlases over the mean film, and films with the map of one finding over them."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from medinterp.audit.analysis.atlas import LUNGS, Atlas
from medinterp.audit.analysis.films import Films
from medinterp.audit.tables import Audit
from medinterp.render import RenderOptions, colormap, encode_png, overlay
from medinterp.types import Film, Float32Array, RelevancyMap

Gray = npt.NDArray[np.uint8]
SIDE = 208
"""Pixels of an atlas."""
MEAN_OF = 200
"""Films that the mean film is made of at most."""
SHOWN = 168
"""Pixels of a film's longer side."""


class Thumbnails:
    """The thumbnails of some films; of all of a large archive they would be a gigabyte."""

    def __init__(self, audit: Audit, films: Films, wanted: Sequence[int]) -> None:
        table = audit.films(["film_id", "thumbnail"], [films.ids[film] for film in wanted])
        by_id = dict(zip(table["film_id"].to_pylist(), table["thumbnail"].to_pylist(), strict=True))
        self._pictures = {film: by_id[films.ids[film]] for film in wanted}

    def gray(self, film: int) -> Gray:
        """A film by its row, uint8 [height, width]."""
        data = np.frombuffer(self._pictures[film], dtype=np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def films_of_mean(films: Films) -> list[int]:
    """The films that the mean is made of, evenly chosen among those with lungs."""
    placed = np.flatnonzero(np.isfinite(films.lungs[:, 0]))
    if not len(placed):
        return []
    chosen = placed[np.linspace(0, len(placed) - 1, min(MEAN_OF, len(placed))).astype(int)]
    return [int(film) for film in chosen]


def mean_film(films: Films, thumbnails: Thumbnails) -> Gray:
    """The mean of some films in the atlases' frame, uint8 [SIDE, SIDE]."""
    chosen = films_of_mean(films)
    total = np.zeros((SIDE, SIDE), dtype=np.float64)
    for film in chosen:
        gray = thumbnails.gray(film)
        height, width = gray.shape
        left, top, right, bottom = films.lungs[film] * (width, height, width, height)
        across, down = (LUNGS[2] - LUNGS[0]) * SIDE / (right - left), (LUNGS[3] - LUNGS[1]) * SIDE / (bottom - top)
        move = np.array([[across, 0, LUNGS[0] * SIDE - across * left], [0, down, LUNGS[1] * SIDE - down * top]])
        total += cv2.warpAffine(gray, move, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return np.clip(total / max(1, len(chosen)), 0, 255).astype(np.uint8)


def atlas_top(atlases: Sequence[Atlas]) -> float:
    """The top of the scale that all atlases share, times chance."""
    return max(2.0, max((float(np.quantile(one.values, 0.995)) for one in atlases), default=2.0))


def atlas_png(atlas: Atlas, background: Gray, top: float) -> bytes:
    """An atlas over the mean film: coloured from chance (1) up to `top`."""
    sampled = cv2.resize(atlas.values, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    shares = np.clip((sampled - 1.0) / (top - 1.0), 0.0, 1.0)
    colours = colormap("magma")[np.round(80 + 175 * shares).astype(np.uint8)].astype(np.float32)
    alpha = 0.8 * np.sqrt(shares)[..., None]
    base = np.repeat(background[..., None], 3, axis=2).astype(np.float32)
    return encode_png(np.asarray(base + alpha * (colours - base), dtype=np.uint8))


def scale_png(top: float) -> bytes:
    """The colours from chance up to the top, as atlases have them."""
    shares = np.linspace(0, 1, 120)
    colours = colormap("magma")[np.round(80 + 175 * shares).astype(np.uint8)].astype(np.float32)
    strip = 96 + 0.8 * np.sqrt(shares)[:, None] * (colours - 96)
    return encode_png(np.repeat(np.asarray(strip, dtype=np.uint8)[None], 10, axis=0))


def maps_of(
    audit: Audit, films: Films, method: str, wanted: Mapping[str, Sequence[int]]
) -> dict[tuple[str, int], Float32Array]:
    """The mean map of a finding's affirmed words on some films: by finding and row of Films, float32 [rows,
    columns]."""
    found: dict[tuple[str, int], list[Float32Array]] = {}
    row = {name: k for k, name in enumerate(films.ids)}
    for finding, chosen in wanted.items():
        ids = pa.array([films.ids[film] for film in chosen], pa.string())
        for batch in audit.words(["film_id", "status", f"map_{method}"], finding):
            mine = pc.and_(
                pc.is_in(batch["film_id"], ids), pc.is_in(batch["status"], pa.array(["present", "uncertain"]))
            )
            some = batch.filter(mine)
            if some.num_rows:
                maps = some[f"map_{method}"].flatten().to_numpy(zero_copy_only=False).reshape(-1, *films.grid)
                for name, one in zip(some["film_id"].to_pylist(), maps, strict=True):
                    found.setdefault((finding, row[name]), []).append(np.clip(one, 0.0, None))
    return {key: np.mean(maps, axis=0).astype(np.float32) for key, maps in found.items()}


def film_jpeg(gray: Gray, map_: Float32Array | None) -> bytes:
    """A film, with a map over it where there is one, SHOWN pixels on its longer side, as JPEG."""
    factor = SHOWN / max(gray.shape)
    size = (max(1, round(gray.shape[1] * factor)), max(1, round(gray.shape[0] * factor)))
    small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    if map_ is None:
        picture = np.repeat(small[..., None], 3, axis=2)
    else:
        one = RelevancyMap("evidence", map_, (), False)
        picture = overlay(Film(small, "image/png", ""), one, RenderOptions(opacity=0.65, scale="map"))
    return bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes())


def data_url(data: bytes, kind: str) -> str:
    """A picture inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

