"""Log-probabilities of chosen tokens from final states, a part of the vocabulary at a time, and their slopes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from medinterp.model.footprint import VOCABULARY_PART


@dataclass(frozen=True, eq=False)
class Head:
    """weight: [vocabulary, d]; cap: c where logits are c tanh(z / c), None where they are z."""

    weight: torch.Tensor
    cap: float | None

    def capped(self, logits: torch.Tensor) -> torch.Tensor:
        """The model's logits, of products with the weight."""
        return logits if self.cap is None else self.cap * (logits / self.cap).tanh()

    def sloped(self, slopes: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Slopes by the capped logits made slopes by what stood before the cap; a logit of -inf passes none."""
        if self.cap is None:
            return slopes
        return slopes * (1.0 - (logits.clamp(-self.cap, self.cap) / self.cap).square())


def token_logprobs(states: torch.Tensor, head: Head, chosen: torch.Tensor) -> torch.Tensor:
    """log softmax of the logits at the chosen tokens; states [B, T, d] -> float64 [B, T].

    As -log(1 + exp(z' - z)), z the chosen token's logit and z' the log-sum-exp of all others: where the model is sure,
    log p is near 0 and z - logsumexp(all) would be the difference of two equal numbers, with no digit left of what a
    cell is worth. Logits are float32 whatever the model's dtype (bfloat16 ones come in steps of 0.1), a part of the
    vocabulary at a time.
    """
    own, others = _own_and_others(states.float(), head, chosen)
    return -torch.nn.functional.softplus((others - own).double())


@torch.no_grad()
def token_slopes(states: torch.Tensor, head: Head, chosen: torch.Tensor) -> torch.Tensor:
    """d log p / d states of `token_logprobs`, in the states' dtype, [B, T, d].

    (1 - p) (w_y - sum over the others of their share of z' times w), which keeps nothing of the head: autograd would
    keep all of it in float32.
    """
    rows = states.float()
    own, others = _own_and_others(rows, head, chosen)
    slopes = head.sloped(head.weight[chosen].float().expand(rows.shape).clone(), own[..., None])
    for part, logits, _ in _parts_of_others(rows, head, chosen):
        slopes -= head.sloped((logits - others[..., None]).exp_(), logits) @ part
    slopes *= torch.sigmoid((others - own).double())[..., None]
    return slopes.to(states.dtype)


def _own_and_others(
    rows: torch.Tensor, head: Head, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The chosen token's logit, and the log-sum-exp of all others, float32 [B, T]."""
    others = torch.full(rows.shape[:-1], -torch.inf, device=rows.device)
    own = torch.zeros_like(others)
    for _, logits, found in _parts_of_others(rows, head, chosen):
        own = own + found
        others = torch.logaddexp(others, logits.logsumexp(-1))
    return own, others


def _parts_of_others(
    rows: torch.Tensor, head: Head, chosen: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of each part of the vocabulary: its weight, float32 [V, d]; logits [B, T, V], the chosen token's -inf; and that
    token's logit [B, T], 0 where it is of another part."""
    start = 0
    for half in torch.split(head.weight, VOCABULARY_PART):
        part = half.float()
        logits = head.capped(rows @ part.T)
        here = (chosen >= start) & (chosen < start + len(part))
        place = (chosen - start).clamp(0, len(part) - 1).expand(rows.shape[:-1])[..., None]
        own = torch.where(here, logits.gather(-1, place)[..., 0], 0.0)
        gone = torch.where(here, -torch.inf, 0.0).expand(rows.shape[:-1])[..., None]
        yield part, logits.scatter_add(-1, place, gone), own
        start += len(part)
