"""Stage 1: vision tower and projector learn to name what lies in each cell, on dense labels.

Every image cell's projected embedding is asked for the words that a report would use of it (finding,
side, zone, size), against the language model's own token embeddings: afterwards an image token speaks
the language of the words. Nothing here touches attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.phantom.findings import NAMES
from medinterp.phantom.training.pool import Pool

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


def train_tower(
    model: Any, tokenizer: Any, pool: Pool, *, steps: int, batch: int, learning_rate: float, seed: int
) -> None:
    """Train tower, projector and the label words' embeddings; prints the held-out scores."""
    import torch
    from torch.nn import functional
    from tqdm import tqdm

    labels = label_cells(pool)
    held_out = min(500, len(pool) // 10)
    rng = np.random.default_rng(seed)
    scale = torch.nn.Parameter(torch.tensor(1.0))
    bias = torch.nn.Parameter(torch.zeros(len(_NAME_WORDS) + sum(len(g) for g in _GROUPS)))
    with torch.no_grad():
        bias[: len(NAMES)] = -3.0
    embedding = model.get_input_embeddings().weight
    parameters = [*model.model.vision_tower.parameters(), *model.model.multi_modal_projector.parameters()]
    matrices = [p for p in model.model.vision_tower.encoder.parameters() if p.ndim == 2]
    in_matrices = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in in_matrices]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([*others, embedding, scale, bias], lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    fast = torch.cpu.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512"

    def logits_of(index: npt.NDArray[np.int64]) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            cells = model.get_image_features(pixels(pool.images[index])).pooler_output
        cells = cells.float()
        cells = cells * torch.rsqrt(cells.pow(2).mean(-1, keepdim=True) + 1e-6)
        words = functional.normalize(word_embeddings(model, tokenizer), dim=-1)
        return scale * (cells @ words.T) + bias

    def loss_of(index: npt.NDArray[np.int64]) -> tuple[Any, Any]:
        logits = logits_of(index)
        names = torch.from_numpy(labels.names[index]).float()
        count = len(NAMES)
        cells = names.sum(dim=1, keepdim=True).clamp(min=1.0)
        weights = torch.where(names > 0, (_FINDING_WEIGHT / cells).clamp(0.5, _CELL_WEIGHT), 1.0)
        loss = functional.binary_cross_entropy_with_logits(
            logits[..., :count], names, weight=weights, reduction="sum"
        ) / (len(index) * 40)
        start = count
        for k, group in enumerate(_GROUPS):
            target = torch.from_numpy(labels.attributes[index][..., k]).long()
            part = logits[..., start : start + len(group)].reshape(-1, len(group))
            loss = loss + 0.3 * functional.cross_entropy(part, target.reshape(-1), ignore_index=-1)
            start += len(group)
        return loss, logits

    progress = tqdm(range(steps), desc="tower", unit="step", mininterval=5)
    for step in progress:
        index = rng.integers(held_out, len(pool), size=batch)
        loss, _ = loss_of(index)
        rate = min(1.0, step / 50) * (1.0 if step < steps / 2 else max(0.02, 2.0 * (1.0 - step / steps)))
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * rate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        if step % 25 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    with torch.no_grad():
        parts = [logits_of(np.arange(k, k + 50)) for k in range(0, held_out, 50)]
        logits = torch.cat(parts).numpy()
    print("tower, held-out cells:", score_cells(logits, labels, held_out), flush=True)


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
