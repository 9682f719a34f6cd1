"""Occlusion against forwards made one by one, with the embedding replaced where the projector gives it out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from models import noise_film

from medinterp.errors import GenerationCancelled
from medinterp.model import LoadedModel
from medinterp.model.forcing import teacher_forced
from medinterp.model.occlusion import occlusion
from medinterp.model.prompt import PromptInputs, build_prompt

CELLS = 256


@contextmanager
def hidden_cell(loaded: LoadedModel, image: int, cell: int) -> Iterator[None]:
    """Within, the projector gives out the image's mean embedding in place of one cell's."""

    def replace(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        changed = output.clone()
        changed[image, cell] = output[image].mean(dim=0)
        return changed

    handle = loaded.model.model.multi_modal_projector.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def some_tokens(loaded: LoadedModel) -> list[int]:
    return loaded.processor.tokenizer("No tube. Small nodule.", add_special_tokens=False)["input_ids"]


def test_every_drop_is_that_of_a_whole_forward_with_the_cell_hidden(loaded: LoadedModel, prompt: PromptInputs) -> None:
    tokens = some_tokens(loaded)
    images = len(prompt.image_spans)
    done: list[int] = []
    with loaded.lock:
        drops = occlusion(loaded, prompt, tokens, memory_bytes=64 * 2**20, progress=done.append)
    assert drops.shape == (len(tokens), images * CELLS)
    assert sum(done) == images * CELLS
    assert len(done) > 1
    with torch.no_grad():
        whole = teacher_forced(loaded, prompt, tokens).logprobs
        for image in range(images):
            for cell in (0, 17, 100, 255):
                with hidden_cell(loaded, image, cell):
                    lost = whole - teacher_forced(loaded, prompt, tokens).logprobs
                np.testing.assert_allclose(drops[:, image * CELLS + cell], lost.numpy(), atol=1e-4)
                assert float(lost.abs().max()) > 1e-3


def test_the_batch_changes_nothing_but_the_time(loaded: LoadedModel) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    one = occlusion(loaded, prompt, some_tokens(loaded), memory_bytes=2**23)
    many = occlusion(loaded, prompt, some_tokens(loaded), memory_bytes=512 * 2**20)
    np.testing.assert_allclose(one, many, atol=1e-4)


def test_it_stops_when_nobody_waits(loaded: LoadedModel) -> None:
    prompt = build_prompt(loaded, [noise_film()], "Describe.")
    asked = iter([False, True])
    with pytest.raises(GenerationCancelled, match="of 256 cells"):
        occlusion(loaded, prompt, some_tokens(loaded), memory_bytes=2**24, cancelled=lambda: next(asked))
