"""The model as a module from cell masks to token log-probabilities: what libraries of attribution work with."""

from __future__ import annotations

import torch

from medinterp.model.replay import Replay


class CellMaskModule(torch.nn.Module):
    """forward: masks float [B, cells of all images], 1 for a cell as it is and 0 for one replaced -> log p [B, T].

    Between 0 and 1 a cell's embedding lies between its own and the baseline's, so that gradients by the mask exist.
    baseline: [cells of all images, width], its image's mean embedding unless given. The caller holds loaded.lock.
    """

    def __init__(self, replay: Replay, baseline: torch.Tensor | None = None) -> None:
        super().__init__()
        self._replay = replay
        self._baseline = replay.means if baseline is None else baseline

    def forward(self, masks: torch.Tensor) -> torch.Tensor:
        """Log-probabilities float64 [B, T], nats."""
        own = self._replay.features
        shares = masks[..., None].to(own.dtype)
        return self._replay.logprobs(own * shares + self._baseline * (1 - shares))
