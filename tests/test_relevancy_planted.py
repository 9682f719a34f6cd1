"""A model patched so that two heads of every layer look at one cell: from its forward pass to every method's map."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import noise_film, save_small_model
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from medinterp.explainer import Explainer
from medinterp.model.capture import ATTENTION, captured_attention
from medinterp.relevancy import ATTENTION_METHODS

CELL = 16 * 5 + 9
"""Row 5, column 9."""


@pytest.mark.parametrize("image_first", [True, False])
def test_every_method_finds_the_cell_that_heads_look_at(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, image_first: bool
) -> None:
    explainer = Explainer.from_pretrained(str(save_small_model(tmp_path)), image_first=image_first)
    place: list[int] = []

    def look(module: Any, inputs: Any, kwargs: dict[str, Any]) -> None:
        place[:] = [int(kwargs["token_type_ids"][0].nonzero()[0]) + CELL]

    def patched(module: Any, query: torch.Tensor, key: torch.Tensor, *rest: Any, **options: Any) -> Any:
        """Key/value head 0 (query heads 0 and 1): one key that every query of theirs is drawn to."""
        query, key = query.clone(), key.clone()
        query[:, :2] = 0.0
        query[:, :2, :, 0] = 30.0
        key[:, 0] = 0.0
        key[:, 0, place[0], 0] = 30.0
        return captured_attention(module, query, key, *rest, **options)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, ATTENTION, patched)
    handle = explainer.loaded.model.model.register_forward_pre_hook(look, with_kwargs=True)
    explanation = explainer.explain(noise_film(), prompt="Describe.", methods=ATTENTION_METHODS, max_new_tokens=12)
    handle.remove()
    assert len(explanation.report.tokens) == 12
    assert explanation.trace is not None
    assert float(explanation.trace.image_attention[:, :, :2, CELL].min()) > 0.99
    for name, pack in explanation.packs.items():
        assert (pack.values.reshape(12, -1).argmax(axis=1) == CELL).all(), name
