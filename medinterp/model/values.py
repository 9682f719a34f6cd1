"""|| W_O^h v_j || behind the frozen post-attention norm, for every layer, head and position.

Gemma adds RMSNorm(o_i) to the residual stream, with o_i = sum_h sum_j A[h,i,j] W_O^h v_j the attention block's output
at position i and RMSNorm(o) = g * o / rms(o), g the norm's factors (Gemma 3's are 1 + w) and rms(o) = sqrt(mean(o^2) +
eps). With the statistic rms(o_i) frozen at the value that it had in the forward pass, the norm is linear, and position
j's contribution through head h to position i is A[h,i,j] g * W_O^h v_j / rms(o_i) (Kobayashi et al. 2020, "Attention is
not only a weight", Eq. 5; the norm folded in as in Kobayashi et al. 2021, "Incorporating residual and normalization
layers", Eq. 9).

1 / rms(o_i) belongs to the query i, `value_norm` to the key j. One scale stands for each layer, the mean over the
report's own queries: s_l = mean_t 1 / rms(o_{l,q_t}). So

    value_norm[l,h,j] = s_l || g_l * W_O^{l,h} v_{l,j} ||_2,

and A[l,h][q_t,j] value_norm[l,h,j] is the exact norm of the contribution up to the factor (1 / rms(o_{l,q_t})) / s_l:
one number for each layer and token, that changes no map within a layer. Families without that norm (Qwen) have g = 1
and s_l = 1; where layers scale the whole stream behind them (Gemma 4's layer_scalar), g_l bears the factor with which
the layer's part arrives at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from medinterp.model.facts import ModelFacts
from medinterp.model.families.family import Family


@dataclass(frozen=True, eq=False)
class ValueMetric:
    """G[l,h] = W_O^{l,h}^T diag(g_l)^2 W_O^{l,h}, so that || g * W_O^h v ||^2 = v^T G v.

    gram: of each layer, float32 [key/value heads, heads for each of them, D, D]; output_projection: for each layer
    the model's own W_O; epsilon: of each layer's post-attention norm, None where there is none. Four bytes times
    L H D^2: 71 MB at MedGemma-4B's shape, and a d / D part of the work that W_O itself would be.
    """

    gram: tuple[torch.Tensor, ...]
    output_projection: tuple[Any, ...]
    epsilon: tuple[float | None, ...]

    def norms(self, values: torch.Tensor, layer: int) -> torch.Tensor:
        """|| g * W_O^h v_j || of one layer.

        values: [B, key/value heads, positions, D]; answers float32 [B, H, positions].
        """
        spread = values.float().unsqueeze(2)
        squared: torch.Tensor = ((spread @ self.gram[layer]) * spread).sum(-1)
        return squared.clamp_min_(0).sqrt_().flatten(1, 2)

    def reciprocal_rms(self, outputs: torch.Tensor, layer: int) -> torch.Tensor:
        """1 / rms(o) of one layer, 1 where nothing normalises o.

        outputs: [..., H * D], the heads' outputs side by side, before W_O; answers float32 [...].
        """
        epsilon = self.epsilon[layer]
        if epsilon is None:
            return torch.ones(outputs.shape[:-1], device=outputs.device)
        projected: torch.Tensor = self.output_projection[layer](outputs).float()
        return (projected.square().mean(-1) + epsilon).rsqrt()


@torch.no_grad()
def value_metric(family: Family, model: Any, facts: ModelFacts) -> ValueMetric:
    """The metric of every layer of a language model."""
    grams, projections, epsilons = [], [], []
    layers = family.language_model(model).layers
    for layer, shape, carried in zip(layers, facts.shapes, family.carried(model), strict=True):
        projection, norm = layer.self_attn.o_proj, family.post_norm(layer)
        weight = output_weight(projection, facts.heads * shape.head_dim, model.dtype, next(layer.parameters()).device)
        if norm is not None:
            weight = weight * norm[0][:, None]
        by_head = (weight * carried).view(facts.hidden_size, facts.heads, shape.head_dim).transpose(0, 1)
        gram = by_head.transpose(1, 2) @ by_head
        grouped = shape.key_value_heads, facts.heads // shape.key_value_heads, shape.head_dim, shape.head_dim
        grams.append(gram.view(grouped))
        projections.append(projection)
        epsilons.append(norm[1] if norm is not None else None)
    return ValueMetric(gram=tuple(grams), output_projection=tuple(projections), epsilon=tuple(epsilons))


def output_weight(projection: Any, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """W_O as the module applies it, float32 [d, width], by what it makes of unit vectors.

    A quantised module's `weight` has no scales, one with a LoRA not the whole.
    """
    units = torch.eye(width, dtype=dtype, device=device)
    nothing = projection(torch.zeros(1, width, dtype=dtype, device=device))
    made: torch.Tensor = (projection(units).float() - nothing.float()).T
    return made
