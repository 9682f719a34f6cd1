"""What captum 0.9 makes of the model as a module from cell masks to log-probabilities, beside our own methods."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, InputXGradient, IntegratedGradients
from models import noise_film

from medinterp.evaluation.adapter import CellMaskModule
from medinterp.model import LoadedModel
from medinterp.model.integrated import FADED, input_x_gradient, integrated_gradients
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.model.replay import Replay

SIDE = 16
CELLS = SIDE**2
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def prompt(loaded: LoadedModel) -> PromptInputs:
    return build_prompt(loaded, [noise_film()], "Describe.")


@pytest.fixture(scope="module")
def replay(loaded: LoadedModel, prompt: PromptInputs, tokens: list[int]) -> Replay:
    with torch.no_grad():
        return Replay(loaded, prompt, tokens)


def whole_film() -> torch.Tensor:
    """The mask that replaces nothing."""
    return torch.ones(1, CELLS)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_feature_ablation_is_occlusion(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], replay: Replay, block: int
) -> None:
    """captum gives every cell of a block what the block is worth, occlusion an even share of it."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    blocks = (row // block * (SIDE // block) + column // block).view(1, CELLS)
    theirs = FeatureAblation(CellMaskModule(replay)).attribute(
        whole_film(), baselines=0.0, feature_mask=blocks, perturbations_per_eval=SIDE
    )
    ours = occlusion(loaded, prompt, tokens, block=block)
    assert theirs.shape == ours.shape == (len(tokens), CELLS)
    assert np.abs(ours).max() > 100 * TOLERANCE / block**2
    np.testing.assert_allclose(ours * block**2, theirs.numpy(), atol=TOLERANCE)


def test_integrated_gradients_are_captums(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], replay: Replay
) -> None:
    ours = integrated_gradients(loaded, prompt, tokens, steps=3)
    method = IntegratedGradients(CellMaskModule(replay))
    for token in (0, 4, len(tokens) - 1):
        with torch.enable_grad():
            theirs = method.attribute(whole_film(), 0.0, token, n_steps=3, method="riemann_middle")
        assert float(theirs.abs().max()) > 10 * TOLERANCE
        np.testing.assert_allclose(ours[token], theirs[0].numpy(), atol=TOLERANCE)


def test_input_x_gradient_is_captums_on_the_faded_picture(
    loaded: LoadedModel, prompt: PromptInputs, tokens: list[int], replay: Replay
) -> None:
    """captum multiplies by the mask, which is 1 - FADED there, and not by the whole way to the mean."""
    ours = input_x_gradient(loaded, prompt, tokens)
    mask = (1 - FADED) * whole_film()
    for token in (0, 4, len(tokens) - 1):
        with torch.enable_grad():
            theirs = InputXGradient(CellMaskModule(replay)).attribute(mask.requires_grad_(), target=token).detach()
        assert float(theirs.abs().max()) > 10 * TOLERANCE
        np.testing.assert_allclose((1 - FADED) * ours[token], theirs[0].numpy(), atol=TOLERANCE)
