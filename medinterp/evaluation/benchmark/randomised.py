"""A model whose language layers hold the same numbers in random places: its maps must say something else.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3: the full randomisation of what was learned.
"""

from __future__ import annotations

import copy
import dataclasses
import threading

import torch

from medinterp.model.loading import LoadedModel


def randomised(loaded: LoadedModel, seed: int = 0) -> LoadedModel:
    """A copy with every matrix of the language layers and of the projection permuted at random."""
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(loaded.model)
    projector = model.model.multi_modal_projector
    matrices = [p for p in model.model.language_model.layers.parameters() if p.ndim == 2]
    with torch.no_grad():
        for matrix in [*matrices, projector.mm_input_projection_weight]:
            order = torch.randperm(matrix.numel(), generator=generator).to(matrix.device)
            matrix.copy_(matrix.flatten()[order].view_as(matrix))
    return dataclasses.replace(loaded, model=model, lock=threading.RLock())
