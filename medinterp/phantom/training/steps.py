"""The steps of a training: with a progress bar, and so that it goes on where it was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

CHECKPOINT_S = 180.0


class Trainer(Protocol):
    """What every trainer can do."""

    def step(self, rate: float) -> float: ...

    def score(self) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def take_steps(name: str, trainer: Trainer, steps: int, checkpoint: Path) -> None:
    """Take the steps that are left, with a checkpoint every few minutes, and print the held-out scores."""
    import torch
    from tqdm import tqdm

    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        trainer.load_state_dict(state)
        first = int(state["step"])
    saved = time.monotonic()
    progress = tqdm(range(first, steps), initial=first, total=steps, desc=name, unit="step", mininterval=5)
    for step in progress:
        loss = trainer.step(learning_rate_at(step, steps))
        progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        if time.monotonic() - saved > CHECKPOINT_S or step + 1 == steps:
            _save({"step": step + 1, **trainer.state_dict()}, checkpoint)
            saved = time.monotonic()
    print(f"{name}, held out:", json.dumps(trainer.score()), flush=True)


def checkpoint_path(work: Path, *parts: str | int) -> Path:
    """Where a training keeps its state: its parts' names (an empty one has none), joined."""
    return work / ("-".join(str(part) for part in parts if part != "") + ".pt")


def descend(loss: Any, optimizers: Sequence[Any], trained: Sequence[Any], learning_rate: float) -> float:
    """One step of all optimizers down the loss, the gradient of what is trained clipped to 1; returns the loss."""
    import torch

    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.item())


def learning_rate_at(step: int, steps: int) -> float:
    """Share of the full rate: a short warm-up, constant for half of the steps, then down to 2 %."""
    rest = 1.0 if step < steps / 2 else max(0.02, 2.0 * (1.0 - step / steps))
    return min(1.0, step / 50) * rest


def _save(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint so that a cut leaves the earlier one whole."""
    import torch

    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.rename(path)
