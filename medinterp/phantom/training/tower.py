"""Stage 1: vision tower and projector learn to name what lies in each cell, on dense labels.

Every image cell's projected embedding is asked for the words that a report would use of it (finding,
side, zone, size), against the language model's own token embeddings: afterwards an image token speaks
the language of the words. Half of the films are crowded: on the others a small finding is rare.
Nothing here touches attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.phantom.findings import NAMES
from medinterp.phantom.training.pool import Pool
from medinterp.phantom.training.steps import descend

SIDE_WORDS = ("left", "right")
ZONE_WORDS = ("upper", "mid", "lower", "high", "tip mid", "low")
SIZE_WORDS = ("small", "moderate", "large")
_GROUPS = (SIDE_WORDS, ZONE_WORDS, SIZE_WORDS)
_SIZED = ("nodule", "consolidation", "pleural effusion", "pneumothorax")
_FINDING_WEIGHT, _CELL_WEIGHT = 16.0, 5.0
"""Every finding weighs about as much as another, whether it covers one cell or thirty."""
_NAME_WORDS = tuple("heart enlarged" if name == "cardiomegaly" else name for name in NAMES)


@dataclass(frozen=True, eq=False)
class CellLabels:
    """Dense labels: names uint8 [films, 256, 9]; attributes int8 [films, 256, 3] (side, zone, size; -1 = not asked)."""

    names: npt.NDArray[np.uint8]
    attributes: npt.NDArray[np.int8]


def label_cells(pool: Pool) -> CellLabels:
    """What lies in every cell of every film of the pool."""
    films = len(pool)
    names = np.zeros((films, 256, len(NAMES)), dtype=np.uint8)
    attributes = np.full((films, 256, 3), -1, dtype=np.int8)
    best = np.zeros((films, 256), dtype=np.uint8)
    for k, facts in enumerate(pool.facts):
        for slot, fact in enumerate(facts):
            cover = pool.coverage[k, slot].reshape(256)
            inside = cover >= max(1, min(90, int(cover.max()) // 2))
            names[k, inside, NAMES.index(fact.name)] = 1
            mine = inside & (cover > best[k])
            best[k][mine] = cover[mine]
            side = SIDE_WORDS.index(fact.side) if fact.side else -1
            zone = -1
            if fact.name == "tube":
                rows = np.flatnonzero(inside.reshape(16, 16).any(axis=1))
                tip = np.zeros((16, 16), dtype=bool)
                tip[max(0, rows.max() - 1) :] = True
                attributes[k, mine] = -1
                mine = mine & tip.reshape(256)
                zone = ZONE_WORDS.index({"high": "high", "mid": "tip mid", "low": "low"}[str(fact.zone)])
            elif fact.zone in ZONE_WORDS:
                zone = ZONE_WORDS.index(str(fact.zone))
            size = SIZE_WORDS.index(fact.size) if fact.name in _SIZED else -1
            attributes[k, mine] = (side, zone, size)
    return CellLabels(names, attributes)


def word_embeddings(model: Any, tokenizer: Any) -> Any:
    """Mean token embedding of every label word, [words, hidden]: names, then sides, zones and sizes."""
    import torch

    table = model.get_input_embeddings().weight
    rows = []
    for word in (*_NAME_WORDS, *SIDE_WORDS, *ZONE_WORDS, *SIZE_WORDS):
        ids = tokenizer(" " + word, add_special_tokens=False).input_ids
        rows.append(table[ids].mean(dim=0))
    return torch.stack(rows)


class TowerTrainer:
    """Trains tower, projector and the label words' embeddings; its whole state can be saved and loaded."""

    def __init__(
        self, model: Any, tokenizer: Any, pool: Pool, crowded: Pool, *, batch: int, learning_rate: float, seed: int
    ) -> None:
        import torch

        from medinterp.phantom.training.muon import Muon

        self.model, self.tokenizer, self.pool, self.batch = model, tokenizer, pool, batch
        self.learning_rate = learning_rate
        self.labels = label_cells(pool)
        self.crowded, self.crowded_labels = crowded, label_cells(crowded)
        self.held_out = min(500, len(pool) // 10)
        self.rng = np.random.default_rng(seed)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        start = torch.zeros(len(_NAME_WORDS) + sum(len(group) for group in _GROUPS))
        start[: len(NAMES)] = -3.0
        self.bias = torch.nn.Parameter(start)
        self.trained = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
        matrices = [p for p in model.model.vision_tower.encoder.parameters() if p.ndim == 2]
        in_matrices = {id(p) for p in matrices}
        others = [p for p in self.trained if id(p) not in in_matrices]
        others += [model.get_input_embeddings().weight, self.scale, self.bias]
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=learning_rate, weight_decay=0.02),
            torch.optim.AdamW(others, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.fast = torch.backends.cpu.get_cpu_capability() == "AVX512"

    def _logits(self, images: npt.NDArray[np.uint8]) -> Any:
        """How much every cell looks like every label word, [films, 256, words]."""
        import torch
        from torch.nn import functional

        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            cells = self.model.get_image_features(pixels(images)).pooler_output
        cells = cells.float()
        cells = cells * torch.rsqrt(cells.pow(2).mean(-1, keepdim=True) + 1e-6)
        words = functional.normalize(word_embeddings(self.model, self.tokenizer), dim=-1)
        return self.scale * (cells @ words.T) + self.bias

    def _loss(self, images: npt.NDArray[np.uint8], labels: CellLabels) -> Any:
        import torch
        from torch.nn import functional

        logits = self._logits(images)
        names = torch.from_numpy(labels.names).float()
        count = len(NAMES)
        cells = names.sum(dim=1, keepdim=True).clamp(min=1.0)
        weights = torch.where(names > 0, (_FINDING_WEIGHT / cells).clamp(0.5, _CELL_WEIGHT), 1.0)
        loss = functional.binary_cross_entropy_with_logits(
            logits[..., :count], names, weight=weights, reduction="sum"
        ) / (len(images) * 40)
        start = count
        for k, group in enumerate(_GROUPS):
            target = torch.from_numpy(labels.attributes[..., k]).long()
            part = logits[..., start : start + len(group)].reshape(-1, len(group))
            if bool((target >= 0).any()):
                loss = loss + 0.3 * functional.cross_entropy(part, target.reshape(-1), ignore_index=-1)
            start += len(group)
        return loss

    def step(self, rate: float) -> float:
        """One optimisation step, half of its films crowded, the learning rate scaled by `rate`; returns the loss."""
        index = self.rng.integers(self.held_out, len(self.pool), size=self.batch - self.batch // 2)
        crowd = self.rng.integers(len(self.crowded), size=self.batch // 2)
        images = np.concatenate([self.pool.images[index], self.crowded.images[crowd]])
        labels = CellLabels(
            np.concatenate([self.labels.names[index], self.crowded_labels.names[crowd]]),
            np.concatenate([self.labels.attributes[index], self.crowded_labels.attributes[crowd]]),
        )
        loss = self._loss(images, labels)
        return descend(loss, self.optimizers, self.trained, self.learning_rate * rate)

    def score(self) -> dict[str, float]:
        """Scores of held-out cells (see score_cells)."""
        import torch

        with torch.no_grad():
            images = self.pool.images[: self.held_out]
            parts = [self._logits(images[k : k + 50]) for k in range(0, self.held_out, 50)]
        return score_cells(torch.cat(parts).numpy(), self.labels, self.held_out)

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers and random state."""
        return {
            "model": self.model.state_dict(),
            "head": {"scale": self.scale.data, "bias": self.bias.data},
            "optimizers": [o.state_dict() for o in self.optimizers],
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.scale.data, self.bias.data = state["head"]["scale"], state["head"]["bias"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]


def score_cells(logits: npt.NDArray[np.float32], labels: CellLabels, count: int) -> dict[str, float]:
    """F1 of every name over cells and the accuracy of side, zone and size, over the first `count` films."""
    scores = {}
    for k, name in enumerate(NAMES):
        said, true = logits[..., k] > 0, labels.names[:count, :, k] > 0
        scores[name] = round(2 * float((said & true).sum()) / max(1, int(said.sum() + true.sum())), 3)
    start = len(NAMES)
    for k, (group, word) in enumerate(zip(_GROUPS, ("side", "zone", "size"), strict=True)):
        target = labels.attributes[:count, :, k]
        asked = target >= 0
        said = logits[..., start : start + len(group)].argmax(-1)
        scores[word] = round(float((said == target)[asked].mean()), 3)
        start += len(group)
    return scores


def pixels(images: npt.NDArray[np.uint8]) -> Any:
    """What the image processor makes of square 8-bit films: float32 [films, 3, size, size] in -1..1."""
    import torch

    scaled = torch.from_numpy(images).float().div_(127.5).sub_(1.0)
    return scaled[:, None].expand(-1, 3, -1, -1)
