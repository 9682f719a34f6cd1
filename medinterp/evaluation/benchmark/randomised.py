"""A model that holds the same numbers in random places: its maps must say something else.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3: the full randomisation of what was learned.
"""

from __future__ import annotations

import copy
import dataclasses

import torch

from medinterp.model.loading import LoadedModel
from medinterp.model.turns import Turns


def randomised(loaded: LoadedModel, seed: int = 0) -> LoadedModel:
    """A copy with every parameter permuted at random: tower, projection, embeddings, layers, norms."""
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(loaded.model)
    with torch.no_grad():
        for parameter in model.parameters():  # what is tied comes once
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return dataclasses.replace(loaded, model=model, lock=Turns())
