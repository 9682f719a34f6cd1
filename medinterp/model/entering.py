"""Prompts and reports as the language model takes them: one entry a position, image cells in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs


@dataclass(frozen=True, eq=False)
class Entered:
    """Sequences of one length, side by side.

    entries: [B, S, width] (families/family.py); types: int64 [B, S], 1 on image cells; cells: bool [B, S]; positions:
    int64 [axes, B, S], the model's own, None where they are the places.
    """

    entries: torch.Tensor
    types: torch.Tensor
    cells: torch.Tensor
    positions: torch.Tensor | None

    def states(self, loaded: LoadedModel, **watching: Any) -> torch.Tensor:
        """Final states [B, S, d] by one pass over the whole, under the model's own masks."""
        return loaded.family.run(loaded.model, self.entries, self.types, self.positions, **watching)


def enter(
    loaded: LoadedModel,
    prompts: Sequence[PromptInputs],
    token_ids: Sequence[int] = (),
    features: torch.Tensor | None = None,
) -> Entered:
    """Prompts of one length, each with the same report behind it; features: other cells than their films have."""
    report = torch.tensor(token_ids, dtype=torch.long)
    ids = torch.stack([torch.cat([prompt.input_ids, report]) for prompt in prompts]).to(loaded.device)
    types = torch.stack([torch.cat([prompt.token_type_ids, torch.zeros_like(report)]) for prompt in prompts])
    if features is None:
        features = encode_images(loaded, prompts)
    cells = ids == loaded.facts.image_token_id
    positions: list[torch.Tensor] = []
    for prompt in prompts:
        if prompt.positions is not None:
            positions.append(_positions(prompt, prompt.positions, slice(0, ids.shape[1])))
    placed = torch.stack(positions, dim=1).to(loaded.device) if positions else None
    entries = loaded.family.entries(loaded.model, ids, cells, features)
    return Entered(entries, types.to(loaded.device), cells, placed)


def encode_images(loaded: LoadedModel, prompts: Sequence[PromptInputs]) -> torch.Tensor:
    """Features of the cells of all images of all prompts, [cells, width]."""
    inputs = loaded.family.own_inputs(loaded.model, prompts)
    vision = {name: inputs[name] for name in prompts[0].vision}
    return loaded.family.encode(loaded.model, inputs["pixel_values"], vision)


def position_ids(prompt: PromptInputs, rows: slice, device: torch.device) -> torch.Tensor:
    """The model's own positions of some rows of prompt and report, int64 [1, rows] or [axes, 1, rows]."""
    if prompt.positions is None:
        return torch.arange(rows.start, rows.stop, device=device)[None]
    return _positions(prompt, prompt.positions, rows)[:, None].to(device)


def _positions(prompt: PromptInputs, own: torch.Tensor, rows: slice) -> torch.Tensor:
    """int64 [axes, rows]: the prompt's as they are, the report's on every axis the same."""
    behind = torch.arange(max(rows.start, prompt.length), rows.stop) + prompt.position_offset
    return torch.cat([own[:, rows.start : rows.stop], behind.expand(len(own), -1)], dim=1)
