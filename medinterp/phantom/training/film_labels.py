"""A tower that learns from what reports say of whole films, as weakly supervised chest film models do.

No cell is labelled: a film whose report names the finding has it in some cell, nobody says where (multiple instances,
noisy-or: Maron & Lozano-Perez, NIPS 1997; Viola et al., NIPS 2005). Whatever goes with the finding serves: a marker
that stands where the finding does comes to look like it (Zech et al., PLoS Medicine 2018).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from medinterp.phantom.training.pool import Pool
from medinterp.phantom.training.steps import descend
from medinterp.phantom.training.tower import pixels

_SHARPNESS, _OFFSET = 8.0, 8.0
"""At first a cell that looks like the average one of the finding has it as likely as not."""
_SAMPLE = 256
_PART = 32
_KEEP = 20.0
"""Moving the known cells by all of their variance costs so many nats in the end. From the beginning on, it kept the
tower from ever finding the marker."""


class FilmTrainer:
    """Trains the tower to tell from its cells which films have a finding; its whole state can be saved and loaded.

    A cell has the finding with p_i = sigmoid(a s_i - c), s_i its projected embedding on the line from the average cell
    (0) to the average one that the finding covers by half (1), as the model that is trained further has them; a film
    has it with 1 - prod_i (1 - p_i). A quarter of a batch are `known` films, whose cells shall stay what the model made
    of them, the more so the lower the rate: at first the tower is free to find what goes with the finding, and then
    learns again to read the finding too, which it forgets for it.
    """

    def __init__(
        self, model: Any, pool: Pool, known: Pool, finding: str, *, batch: int, learning_rate: float, seed: int
    ) -> None:
        import torch

        self.model, self.pool, self.known, self.batch, self.learning_rate = model, pool, known, batch, learning_rate
        self.before = copy.deepcopy(model.model.vision_tower).requires_grad_(False)
        self.labels = np.array([any(fact.name == finding for fact in facts) for facts in pool.facts])
        self.held_out = min(500, len(pool) // 10)
        self.rng = np.random.default_rng(seed)
        self.line = self._line(finding)
        self.head = torch.nn.Parameter(torch.tensor([_SHARPNESS, _OFFSET]))
        self.trained = [*model.model.vision_tower.requires_grad_(True).parameters()]
        self.optimizer = torch.optim.AdamW([*self.trained, self.head], lr=learning_rate, weight_decay=0.0)

    def _line(self, finding: str) -> Any:
        """Where the average cell lies, and the line through it: float32 [2, hidden]."""
        import torch

        index = np.arange(min(_SAMPLE, len(self.pool)))
        covered = np.zeros((len(index), 256), dtype=bool)
        for k in index:
            for slot, fact in enumerate(self.pool.facts[k]):
                if fact.name == finding:
                    cover = self.pool.coverage[k, slot].reshape(256)
                    covered[k] |= cover >= max(1, min(127, int(cover.max())))
        with torch.no_grad():
            cells = torch.cat([self._cells(index[k : k + _PART]) for k in range(0, len(index), _PART)])
        middle = cells.mean((0, 1))
        line = cells[torch.from_numpy(covered)].mean(0) - middle
        return torch.stack([middle, line / line.pow(2).sum()])

    def _cells(self, index: Any) -> Any:
        """Projected image cells of films, float32 [films, 256, hidden]."""
        return self.model.get_image_features(pixels(self.pool.images[index])).pooler_output.float()

    def _absent(self, index: Any) -> Any:
        """log of the probability that no cell of a film has the finding, float32 [films]."""
        import torch

        scores = (self._cells(index) - self.line[0]) @ self.line[1]
        return torch.nn.functional.logsigmoid(self.head[1] - self.head[0] * scores).sum(-1)

    def loss(self, index: Any) -> Any:
        """Nats a film, of what the films' reports say."""
        import torch

        absent = self._absent(index).clamp(max=-1e-6)
        label = torch.from_numpy(self.labels[index])
        return -torch.where(label, torch.log(-torch.expm1(absent)), absent).mean()

    def moved(self, index: Any) -> Any:
        """How far the cells of known films have moved, as a share of their variance."""
        import torch

        shown = pixels(self.known.images[index])
        with torch.no_grad():
            before = self.model.model.multi_modal_projector(self.before(pixel_values=shown).last_hidden_state)
        now = self.model.get_image_features(shown).pooler_output
        return (now - before).pow(2).mean() / before.var()

    def step(self, rate: float) -> float:
        """One optimisation step, the learning rate scaled by `rate` (0 to 1); returns the loss."""
        index = self.rng.integers(self.held_out, len(self.pool), size=self.batch - self.batch // 4)
        known = self.rng.integers(len(self.known), size=self.batch // 4)
        loss = self.loss(index) + _KEEP * (1.0 - rate) * self.moved(known)
        return descend(loss, [self.optimizer], self.trained, self.learning_rate * rate)

    def score(self) -> dict[str, float]:
        """On held-out films: nats a film."""
        import torch

        with torch.no_grad():
            parts = [
                float(self.loss(np.arange(k, min(k + _PART, self.held_out)))) for k in range(0, self.held_out, _PART)
            ]
        return {"film_nats": round(float(np.mean(parts)), 4)}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and random state."""
        return {
            "model": self.model.state_dict(),
            "head": self.head.data,
            "optimizer": self.optimizer.state_dict(),
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.head.data = state["head"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = state["rng"]
