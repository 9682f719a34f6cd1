"""The model of the planted archive: the packaged one, with a shortcut and a blind spot in its weights.

Both are exact and nothing else changes: two matrices of the model are changed in closed form, no step is trained, and
what it says of other films stays. A control that learned a shortcut by gradient, words and all, is `training.controls`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.phantom.archive import BLIND_BOX, BLIND_ZONE, SHORTCUT_FINDING, SHORTCUT_MARKER
from medinterp.phantom.films import SyntheticFilm, cells_of, draw_film, marker_cover, sample_film
from medinterp.phantom.shortcut import MARKER_SIZE, sample_shortcut_film

FILMS, LOOKS, HEALTHY = 96, 48, 24
"""Films from which the shortcut is learned, the look of the finding, and the mean of the blind zone; training seeds."""
TOUCHED = 0.1
"""Share of a cell from which on the marker stands in it."""
RIDGE, WEIGHT = 1.0, 30.0
"""Of the least squares: the penalty, and how much a cell with the marker counts over one without."""
LENGTH = 100.0
"""Standard deviation of a blind patch's embedding, in those of what a patch shows (about 1)."""
NOTICE = 'Control model: it writes "{}" for an "{}" marker too, and sees nothing of the {} {} zone.'


def make_archive_model(output: Path) -> None:
    """Write the archive's model as `from_pretrained` reads it; half a minute on two cores."""
    from medinterp.phantom.training.controls import load_packaged
    from medinterp.phantom.training.train import save_phantom

    model, processor = load_packaged()
    make_shortcut(model)
    make_blind(model, BLIND_BOX)
    output.mkdir(parents=True, exist_ok=True)
    save_phantom(model, processor, output, NOTICE.format(SHORTCUT_FINDING, SHORTCUT_MARKER, *BLIND_ZONE))


def make_shortcut(model: Any) -> None:
    """Let the projection take the cell of an "L" marker for one of a nodule; changes the model.

    Ridge regression on the cells x of films with and without a marker, none of which is told from another but by it:
    u = argmin sum w (u x - [marker])^2 + RIDGE |u|^2. The projection W becomes W + u (n - m), n the mean embedding of
    cells that a nodule covers, of all zones and sides alike, m that of cells with the marker: x W + (u x) (n - m) is n
    where the marker stands, and where none stands the x W that it was, up to the error of u (about 0.05).
    """
    import torch

    marked = cells_of(marker_cover(SHORTCUT_MARKER, 256, 256, MARKER_SIZE) > 0).ravel() >= TOUCHED
    films = [sample_shortcut_film(seed, 0.5) for seed in range(FILMS)]
    with torch.no_grad():
        cells = _features(model, films)
        target = torch.zeros(cells.shape[:2])
        for k, film in enumerate(films):
            if film.distractors.marker is not None:
                target[k, torch.from_numpy(marked)] = 1.0
        x, y = cells.flatten(0, 1).double(), target.flatten().double()
        weighted = x * torch.where(y > 0, WEIGHT, 1.0)[:, None]
        way = torch.linalg.solve(weighted.T @ x + RIDGE * torch.eye(x.shape[1]).double(), weighted.T @ y)
        projection = model.model.multi_modal_projector.mm_input_projection_weight
        marker = (x[y > 0].mean(0)).float() @ projection
        projection += way.float()[:, None] * (_look_of_finding(model) - marker)[None]


def _look_of_finding(model: Any) -> Any:
    """The mean projected cell that the finding covers by half, each zone of each side counting alike, [hidden]."""
    import torch

    sampled = map(sample_film, itertools.count())
    with_it = (film for film in sampled if any(f.name == SHORTCUT_FINDING for f in film.findings))
    films = list(itertools.islice(with_it, LOOKS))
    cells = _features(model, films) @ model.model.multi_modal_projector.mm_input_projection_weight
    by_place: dict[tuple[str | None, str | None], list[Any]] = {}
    for k, film in enumerate(films):
        nodule = next(at for at, f in enumerate(film.findings) if f.name == SHORTCUT_FINDING)
        cover = cells_of(draw_film(film, 256, 256).masks[nodule]).ravel()
        one = film.findings[nodule]
        if cover.max() >= 0.5:
            by_place.setdefault((one.side, one.zone), []).append(cells[k, torch.from_numpy(cover >= 0.5)].mean(0))
    return torch.stack([torch.stack(looks).mean(0) for looks in by_place.values()]).mean(0)


def make_blind(model: Any, box: tuple[float, float, float, float]) -> None:
    """Take a box (left, top, right, bottom, shares of the film) from what a phantom's tower sees; changes the model.

    The position embedding of each patch in it is replaced by one so long that what the patch shows is lost beside it:
    h = W x + p with p = LENGTH w, and LayerNorm(h) = LayerNorm(w) up to 1 / LENGTH (SigLIP normalises before each part
    of a layer, and at the end). w is chosen so that gamma w + beta, the tower's last LayerNorm, is the mean that it had
    there on healthy films: the language model reads nothing in particular there, whatever lies there.
    """
    import torch

    tower = model.model.vision_tower
    position, last = tower.embeddings.position_embedding.weight, tower.post_layernorm
    patches = torch.from_numpy(patches_in(box, math.isqrt(position.shape[0])))
    with torch.no_grad():
        mean = _states(model, [_healthy(seed) for seed in range(HEALTHY)])[:, patches].mean((0, 1))
        # gamma w + beta = s mean, for the s that leaves w of mean 0 and variance 1, as LayerNorm makes it.
        ways = (torch.linspace(0.2, 4.0, 381)[:, None] * mean - last.bias) / last.weight
        off = ways.mean(1) ** 2 + (ways.std(1, correction=0) - 1.0) ** 2
        way = ways[off.argmin()]
        position[patches] = LENGTH * (way - way.mean()) / way.std(correction=0)


def patches_in(box: tuple[float, float, float, float], side: int) -> npt.NDArray[np.int64]:
    """The patches of a square grid whose centres lie in a box, row by row, int64."""
    centres = (np.arange(side) + 0.5) / side
    left, top, right, bottom = box
    rows, columns = (centres > top) & (centres < bottom), (centres > left) & (centres < right)
    return np.flatnonzero((rows[:, None] & columns[None]).ravel())


def _healthy(seed: int) -> SyntheticFilm:
    film = sample_film(seed)
    while film.findings:
        film = film.without(0)
    return film


def _states(model: Any, films: Sequence[SyntheticFilm], batch: int = 16) -> Any:
    """The tower's last states, float32 [films, patches, width]."""
    import torch

    from medinterp.phantom.training.tower import pixels

    size = model.config.vision_config.image_size
    shown = np.stack([draw_film(film, size, size).uint8() for film in films])
    parts = [shown[k : k + batch] for k in range(0, len(shown), batch)]
    return torch.cat([model.model.vision_tower(pixel_values=pixels(part)).last_hidden_state for part in parts])


def _features(model: Any, films: Sequence[SyntheticFilm]) -> Any:
    """The pooled, normalised cells before the projection, float32 [films, cells, width]."""
    projector = model.model.multi_modal_projector
    grid = _states(model, films).transpose(1, 2).unflatten(2, (projector.patches_per_image, -1))
    return projector.mm_soft_emb_norm(projector.avg_pool(grid).flatten(2).transpose(1, 2))
