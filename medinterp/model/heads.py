"""Where each head of each layer looked on a film while it wrote some words, by one pass when asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from medinterp.errors import ModelError, SelectionError
from medinterp.imaging.geometry import film_grid, film_maps
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import build_prompt
from medinterp.model.selection import SelectionPass, token_ids_of
from medinterp.types import Asked, Film, HeadMaps, Report


def head_maps(
    loaded: LoadedModel,
    films: Sequence[Film],
    report: Report,
    prompt: Asked,
    tokens: Sequence[int],
    *,
    image: int = 0,
    cancelled: Callable[[], bool] | None = None,
) -> HeadMaps:
    """A[l,h][q_t, cells] of one film for every layer and head, the mean over the tokens.

    films, prompt: those that the report was written of; tokens: indices of the report's. Beside the pass L x H x cells
    numbers and the softmax rows of one layer are held, never the report's trace. Raises SelectionError for tokens or a
    film that the report has not, GenerationCancelled before the pass.
    """
    if not 0 <= image < len(films):
        raise SelectionError(f"this report was read of {len(films)} film(s), counted from 0; there is no image {image}")
    inputs, facts = build_prompt(loaded, films, prompt), loaded.facts
    film = inputs.films[image]
    places = torch.cat([torch.arange(span.start, span.stop) for span in film]).to(loaded.device)
    with loaded.lock.asking(cancelled), torch.no_grad():
        loaded.lock.give_way(cancelled, "0 of 1 passes")
        asked = SelectionPass(loaded, inputs, token_ids_of(report), tokens)
        sums = torch.zeros(facts.layers, facts.heads, len(places), device=loaded.device)
        seen: set[int] = set()

        def take(layer: int, weights: torch.Tensor) -> None:
            seen.add(layer)
            sums[layer] += weights[:, :, places.to(weights.device)].sum(1).to(sums.device)

        asked.states(take)
        maps = (sums / len(asked.rows)).cpu().numpy()
    if len(seen) < facts.layers:
        raise ModelError(f"{facts.layers - len(seen)} layers computed attention that was not captured")
    return HeadMaps(
        token_indices=tuple(sorted(set(tokens))),
        image=image,
        mass=maps.sum(axis=-1, dtype=np.float32),
        maps=film_maps(maps.reshape(-1, len(places)), film).reshape(facts.layers, facts.heads, *film_grid(film)),
        layer_types=facts.layer_types,
        sliding_window=facts.sliding_window,
    )
