"""A second forward over a report that is already written: the same computation, not another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from medinterp.model.capture import ATTENTION
from medinterp.model.loading import LoadedModel
from medinterp.model.prompt import PromptInputs


@dataclass(frozen=True, eq=False)
class ForcedReport:
    """logprobs: float32 [T], log p of each given token, nats; attentions: L times [H, N, N], or None."""

    logprobs: torch.Tensor
    attentions: tuple[torch.Tensor, ...] | None


def teacher_forced(
    loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int], *, attentions: bool = False
) -> ForcedReport:
    """Run prompt and report through the model's own forward in one pass, from the films' pixels on (trap 3).

    attentions asks the model for its N x N weights, which only the eager implementation has (see
    `attention_by`). Gradients flow where the caller has switched them on.
    """
    report = torch.tensor(token_ids, dtype=torch.long)
    own = loaded.family.own_inputs(loaded.model, [prompt])
    for name, behind in (("input_ids", report), (loaded.family.types_name, torch.zeros_like(report))):
        own[name] = torch.cat([own[name], behind[None].to(loaded.device)], dim=1)
    output = loaded.model(
        **own,
        **loaded.family.own_masks(loaded.model, own),
        use_cache=False,
        output_attentions=attentions,
        # As places: Gemma 4 leaves all others out of some layers where it is told a number, under masks for them.
        logits_to_keep=torch.arange(prompt.length - 1, prompt.length + len(token_ids), device=loaded.device),
    )
    logprobs = output.logits[0, :-1].float().log_softmax(-1)
    chosen = logprobs.gather(1, report.to(loaded.device)[:, None])[:, 0]
    return ForcedReport(chosen, tuple(a[0] for a in output.attentions) if attentions else None)


@contextmanager
def attention_by(loaded: LoadedModel, implementation: str) -> Iterator[None]:
    """Let the language model compute attention by "eager" or "sdpa", for comparison only: nothing is captured.

    The same weights, nothing copied; the caller holds loaded.lock, and the capture is back afterwards.
    """
    loaded.model.set_attn_implementation({"text_config": implementation})
    try:
        yield
    finally:
        loaded.model.set_attn_implementation({"text_config": ATTENTION})
