"""A report that somebody else wrote, in one pass: the evidence for it as if the model had written it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from medinterp.errors import ModelError, ReportTextError
from medinterp.model.capture import AttentionCall
from medinterp.model.entering import enter
from medinterp.model.evidence import BLOCK_BYTES, Evidence
from medinterp.model.footprint import BEST
from medinterp.model.loading import LoadedModel
from medinterp.model.offsets import decode_offsets
from medinterp.model.prompt import PromptInputs, control_tokens
from medinterp.model.writer import OVERFLOW, Finished


def given_tokens(tokenizer: Any, text: str) -> tuple[int, ...]:
    """The tokens of a report that somebody wrote, without a BOS.

    Raises ReportTextError for an empty text, one that holds control tokens, and one that the tokenizer does not give
    back letter by letter (the place is named): its words could not be tied to tokens.
    """
    if not text.strip():
        raise ReportTextError("the given report is empty")
    held = control_tokens(tokenizer, text)
    if held:
        raise ReportTextError(f"the given report holds the model's control tokens: {', '.join(held)}")
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    back, _ = decode_offsets(tokenizer, ids)
    if back != text:
        place = next((k for k, (a, b) in enumerate(zip(text, back, strict=False)) if a != b), min(len(text), len(back)))
        raise ReportTextError(
            f"the model's tokenizer reads the given report otherwise from character {place} on; write that place in "
            "plain letters"
        )
    return ids


@torch.inference_mode()
def read_given(
    loaded: LoadedModel, prompt: PromptInputs, token_ids: Sequence[int], *, layer_attention: bool = True
) -> Finished:
    """Run prompt and report through the model once, and take of it what writing the report would have given.

    Every row is the same computation as in writing (forcing.py), so it is equal up to the order of sums. What is held
    beside the pass: the arrays of the trace, and 32 MiB. The caller holds loaded.lock. Raises ModelError when the model
    overflows.
    """
    report = torch.tensor(token_ids, dtype=torch.long)
    evidence = Evidence(loaded, prompt, len(token_ids), layer_attention=layer_attention)
    states = enter(loaded, [prompt], token_ids).states(loaded, attention_recorder=_PassRows(evidence))[0]
    scores, ids = _likelihoods(loaded, states[prompt.length - 1 : -1], report.to(loaded.device))
    image_state = torch.cat([states[span.start : span.stop] for span in prompt.image_spans])
    return Finished(loaded, token_ids, True, evidence, image_state, scores, ids)


class _PassRows:
    """Takes every layer's rows of one pass over prompt and report."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def observe(self, call: AttentionCall, output: torch.Tensor) -> None:
        """Take what one layer computed."""
        evidence = self._evidence
        # The last token's row predicts what nobody wrote.
        start, stop = (0, None) if evidence.wants_layer_attention else (evidence.first, -1)
        query, mask = call.query[0, :, start:stop], call.whole_mask[0, 0, start:stop]
        evidence.add_layer(call.layer, start, query, call.key[0], call.value[0], mask, call.scaling)


def _likelihoods(
    loaded: LoadedModel, states: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of each chosen token under the model's own distribution, and of the likeliest, as `Finished` takes them.

    states: [T, d], the rows q_t; chosen: [T].
    """
    scores: list[torch.Tensor] = []
    likeliest: list[torch.Tensor] = []
    vocabulary = len(loaded.head.weight)
    block = max(1, BLOCK_BYTES // (4 * vocabulary))
    for rows, ids in zip(torch.split(states, block), torch.split(chosen, block), strict=True):
        logits = loaded.logits(rows).float()
        total = logits.logsumexp(-1, keepdim=True)
        if not bool(total.isfinite().all()):
            raise ModelError(OVERFLOW)
        best = logits.topk(BEST)
        scores.append(torch.cat([logits.gather(1, ids[:, None]), best.values], dim=1) - total)
        likeliest.append(best.indices)
    return torch.cat(scores), torch.cat(likeliest)
