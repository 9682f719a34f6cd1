"""Reports of many films at once, without capture: what the reading benchmark asks for."""

from __future__ import annotations

from collections.abc import Sequence

from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import DEFAULT_PROMPT, build_prompt
from medinterp.types import Film


def write_reports(loaded: LoadedModel, films: Sequence[Film], *, max_new_tokens: int = 512) -> list[str]:
    """The greedy report of each film, all written in one batch with the model's default prompt."""
    import torch

    asked = loaded.default_prompt or DEFAULT_PROMPT
    prompts = [build_prompt(loaded, [film], asked) for film in films]
    ids = torch.stack([prompt.input_ids for prompt in prompts]).to(loaded.device)
    with loaded.lock, torch.no_grad():
        written = loaded.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            token_type_ids=torch.stack([prompt.token_type_ids for prompt in prompts]).to(loaded.device),
            pixel_values=torch.cat([p.pixel_values for p in prompts]).to(loaded.device, loaded.dtype),
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
    texts: list[str] = loaded.processor.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
    return texts
