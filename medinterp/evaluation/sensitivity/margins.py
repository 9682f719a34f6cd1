"""How firmly a given answer would be given: log-odds against the likeliest other token, teacher-forced (torch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from medinterp.evaluation.sensitivity.results import Margin
from medinterp.model.prompt import PromptInputs, build_prompt
from medinterp.types import Asked, Film, Float32Array

if TYPE_CHECKING:
    import torch

    from medinterp.model import LoadedModel

END = "(end)"
_VOCABULARY_PART = 32_768


def forced_margins(
    loaded: LoadedModel, film: Film, question: Asked, token_ids: Sequence[int], *, end: bool
) -> tuple[Margin, ...]:
    """For each token of an answer log p(token) - log p(likeliest other token), given the question and what precedes.

    end: one more for the end of the answer (the likeliest token that ends it, against the likeliest that does not).
    A difference of two log-probabilities of one softmax is that of their logits; they are computed in float32
    whatever the model's dtype, so near 0 the sign may differ from what a bfloat16 model wrote. Image tokens, which
    are never written, are no rivals. Raises PromptError.
    """
    import torch

    prompt = build_prompt(loaded, [film], question)
    with loaded.lock, torch.inference_mode():
        states = _states(loaded, prompt, token_ids)[: len(token_ids) + end].float()
        head = loaded.head
        weight = head.weight
        never = torch.tensor(loaded.facts.never, device=weight.device)
        ending = torch.tensor(sorted(loaded.facts.eos_token_ids), device=weight.device)
        given = torch.tensor(token_ids, dtype=torch.long, device=weight.device)
        own = head.capped((states[: len(token_ids)] * weight[given].float()).sum(-1))
        if end:
            own = torch.cat([own, head.capped(states[-1:] @ weight[ending].float().T).max(dim=-1).values])
        best = torch.full_like(own, -torch.inf)
        rival = torch.zeros_like(own, dtype=torch.long)
        for first in range(0, len(weight), _VOCABULARY_PART):
            part = weight[first : first + _VOCABULARY_PART]
            logits = head.capped(states @ part.float().T)
            inside = torch.arange(first, first + len(part), device=weight.device)
            logits[:, torch.isin(inside, never)] = -torch.inf
            logits[: len(token_ids)][given[:, None] == inside] = -torch.inf
            if end:
                logits[-1, torch.isin(inside, ending)] = -torch.inf
            values, indices = logits.max(dim=-1)
            rival = torch.where(values > best, indices + first, rival)
            best = torch.maximum(best, values)
    decode = loaded.processor.tokenizer.decode

    def text(token_id: int) -> str:
        return END if token_id in loaded.facts.eos_token_ids else str(decode([token_id]))

    tokens = [*map(text, token_ids), *([END] if end else [])]
    rows = zip((own - best).tolist(), tokens, rival.tolist(), strict=True)
    return tuple(Margin(nats, token, text(other)) for nats, token, other in rows)


def decisive(margins: Sequence[Margin]) -> Margin:
    """The first margin below 0, where the answer is left; else the smallest.

    Tokens forced after that place follow on words that the model would not have written, and say nothing.
    """
    return next((one for one in margins if one.nats < 0.0), None) or min(margins, key=lambda one: one.nats)


def forced_logprobs(loaded: LoadedModel, film: Film, prompt: Asked, token_ids: Sequence[int]) -> Float32Array:
    """log p of every token of a report given another film, nats, float32 [T]. Raises PromptError."""
    import torch

    from medinterp.model.forcing import teacher_forced

    inputs = build_prompt(loaded, [film], prompt)
    with loaded.lock, torch.inference_mode():
        logprobs: Float32Array = teacher_forced(loaded, inputs, token_ids).logprobs.cpu().numpy()
    return logprobs


def _states(loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int]) -> torch.Tensor:
    """The final states that predict each token and the one after the last: [T + 1, d]."""
    from medinterp.model.entering import enter

    return enter(loaded, [prompt], token_ids).states(loaded)[0, prompt.length - 1 :]
