"""Tokens and reports as `generate` itself writes them, without capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs, ask, build_prompt
from medinterp.types import Film


def default_prompts(loaded: LoadedModel, films: Sequence[Film]) -> list[PromptInputs]:
    """The model's default prompt for each film."""
    return [build_prompt(loaded, [film], ask(loaded)) for film in films]


def plain_tokens(loaded: LoadedModel, prompts: Sequence[PromptInputs], **options: Any) -> list[list[int]]:
    """Greedy tokens of each prompt, written in one batch; prompts of one length. options: those of `generate`."""
    import torch

    inputs = loaded.family.own_inputs(loaded.model, prompts)
    ids = inputs["input_ids"]
    with loaded.lock, torch.no_grad():
        output = loaded.model.generate(
            **inputs, attention_mask=torch.ones_like(ids), do_sample=False, **options
        )
    sequences = output if isinstance(output, torch.Tensor) else output.sequences
    rows: list[list[int]] = sequences[:, ids.shape[1] :].tolist()
    return rows


def write_reports(loaded: LoadedModel, films: Sequence[Film], *, max_new_tokens: int = 512) -> list[str]:
    """The greedy report of each film, all written in one batch with the model's default prompt."""
    rows = plain_tokens(loaded, default_prompts(loaded, films), max_new_tokens=max_new_tokens)
    texts: list[str] = loaded.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
    return texts
