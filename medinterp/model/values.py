"""|| W_O^h v_j || behind the frozen post-attention norm, for every layer, head and position.

Gemma3 adds RMSNorm(o_i) to the residual stream, with o_i = sum_h sum_j A[h,i,j] W_O^h v_j the
attention block's output at position i and RMSNorm(o) = (1 + w) * o / rms(o), w the weight of
`post_attention_layernorm` and rms(o) = sqrt(mean(o^2) + eps). With the statistic rms(o_i) frozen at
the value that it had in the forward pass, the norm is linear, and position j's contribution through
head h to position i is A[h,i,j] (1 + w) * W_O^h v_j / rms(o_i) (Kobayashi et al. 2020, "Attention is
not only a weight", Eq. 5; the norm folded in as in Kobayashi et al. 2021, "Incorporating residual and
normalization layers", Eq. 9).

1 / rms(o_i) belongs to the query i, `value_norm` to the key j. One scale stands for each layer, the
mean over the report's own queries: s_l = mean_t 1 / rms(o_{l,q_t}). So

    value_norm[l,h,j] = s_l || (1 + w_l) * W_O^{l,h} v_{l,j} ||_2,

and A[l,h][q_t,j] value_norm[l,h,j] is the exact norm of the contribution up to the factor
(1 / rms(o_{l,q_t})) / s_l: one number for each layer and token, that changes no map within a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from medinterp.model.facts import ModelFacts


@dataclass(frozen=True, eq=False)
class ValueMetric:
    """G[l,h] = W_O^{l,h}^T diag(1 + w_l)^2 W_O^{l,h}, so that || (1+w) * W_O^h v ||^2 = v^T G v.

    gram: float32 [L, key/value heads, heads for each of them, D, D]; output_projection: for each layer
    the model's own W_O; epsilon: of each layer's post-attention norm. Four bytes times L H D^2: 71 MB
    at MedGemma-4B's shape, and a d / D part of the work that W_O itself would be.
    """

    gram: torch.Tensor
    output_projection: tuple[Any, ...]
    epsilon: tuple[float, ...]

    def norms(self, values: torch.Tensor, layer: int) -> torch.Tensor:
        """|| (1 + w) * W_O^h v_j || of one layer.

        values: [B, key/value heads, positions, D]; answers float32 [B, H, positions].
        """
        spread = values.float().unsqueeze(2)
        squared: torch.Tensor = ((spread @ self.gram[layer]) * spread).sum(-1)
        return squared.clamp_min_(0).sqrt_().flatten(1, 2)

    def reciprocal_rms(self, outputs: torch.Tensor, layer: int) -> torch.Tensor:
        """1 / rms(o) of one layer.

        outputs: [..., H * D], the heads' outputs side by side, before W_O; answers float32 [...].
        """
        projected: torch.Tensor = self.output_projection[layer](outputs).float()
        return (projected.square().mean(-1) + self.epsilon[layer]).rsqrt()


@torch.no_grad()
def value_metric(language_model: Any, facts: ModelFacts) -> ValueMetric:
    """The metric of every layer of a Gemma3 language model."""
    grams, projections, epsilons = [], [], []
    for layer in language_model.layers:
        projection, norm = layer.self_attn.o_proj, layer.post_attention_layernorm
        weight = projection.weight.float() * (1.0 + norm.weight.float())[:, None]
        by_head = weight.view(facts.hidden_size, facts.heads, facts.head_dim).transpose(0, 1)
        grams.append(by_head.transpose(1, 2) @ by_head)
        projections.append(projection)
        epsilons.append(float(norm.eps))
    shape = (facts.key_value_heads, facts.heads // facts.key_value_heads, facts.head_dim, facts.head_dim)
    gram = torch.stack(grams).view(len(grams), *shape)
    return ValueMetric(gram=gram, output_projection=tuple(projections), epsilon=tuple(epsilons))
