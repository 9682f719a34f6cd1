"""Muon in float32: torch's own works in bfloat16, which a CPU without such units only emulates, slowly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalize(update: torch.Tensor) -> torch.Tensor:
    """Bring every singular value near 1 by five quintic Newton-Schulz steps, float32 [..., rows, columns]."""
    tall = update.shape[-2] > update.shape[-1]
    x: torch.Tensor = update.mT if tall else update
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised, at the step size of AdamW (Liu et al. 2025, arXiv:2502.16982, eq. 4)."""

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; matrices of one shape are orthogonalised together. A closure is refused."""
        if closure is not None:
            raise ValueError("this optimizer takes the gradients that are there, and no closure")
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[torch.Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
            for shape, matrices in by_shape.items():
                updates = []
                for matrix in matrices:
                    gradient = matrix.grad
                    assert gradient is not None
                    momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
                    momentum.lerp_(gradient, 0.05)
                    updates.append(torch.lerp(gradient, momentum, 0.95))
                rate = group["lr"] * 0.2 * max(shape) ** 0.5
                for matrix, change in zip(matrices, orthogonalize(torch.stack(updates)), strict=True):
                    matrix.mul_(1.0 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)
