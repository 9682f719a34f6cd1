"""`make phantom`: draws the pool, trains the tower, then the language model, and writes the packaged weights."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from medinterp.phantom.reports import REPORT_PROMPT
from medinterp.phantom.training.assemble import make_model, make_processor, make_tokenizer
from medinterp.phantom.training.language import LanguageTrainer, Stage
from medinterp.phantom.training.pool import draw_pool
from medinterp.phantom.training.tower import TowerTrainer

CHECKPOINT_S = 180.0
NOTICE = "Demo model: reads synthetic films only."


@dataclass(frozen=True)
class Recipe:
    """How long and on how much phantom is trained; the defaults made the packaged weights."""

    films: int = 20_000
    crowded_films: int = 8_000
    tower_steps: int = 1000
    tower_batch: int = 32
    tower_rate: float = 2e-3
    question_steps: int = 250
    report_steps: int = 1250
    batch: int = 12
    misled: int = 6
    language_rate: float = 2.5e-3


class _Trainer(Protocol):
    """What both stages' trainers can do."""

    def step(self, rate: float) -> float: ...

    def score(self) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def train(work: Path, output: Path, *, seed: int = 0, recipe: Recipe | None = None) -> None:
    """Train phantom from nothing, or go on where an earlier run in the same work directory stopped."""
    recipe = recipe or Recipe()
    work.mkdir(parents=True, exist_ok=True)
    pool = draw_pool(work / "pool", 0, recipe.films, 256, workers=os.cpu_count() or 1)
    crowded = draw_pool(work / "pool", 0, recipe.crowded_films, 256, workers=os.cpu_count() or 1, crowded=True)
    tokenizer = make_tokenizer()
    processor = make_processor(tokenizer)
    model = make_model(tokenizer, seed)
    tower = TowerTrainer(
        model, tokenizer, pool, crowded, batch=recipe.tower_batch, learning_rate=recipe.tower_rate, seed=seed
    )
    _run("tower", tower, recipe.tower_steps, work / f"tower-{seed}.pt")
    stages = (
        Stage(recipe.question_steps, recipe.batch, questions=8, report=False, misled=recipe.misled),
        Stage(recipe.report_steps, recipe.batch, questions=3, report=True, misled=recipe.misled),
    )
    language = LanguageTrainer(model, processor, pool, stages, learning_rate=recipe.language_rate, seed=seed)
    _run("language", language, recipe.question_steps + recipe.report_steps, work / f"language-{seed}.pt")
    save_phantom(model, processor, output)


def _run(name: str, trainer: _Trainer, steps: int, checkpoint: Path) -> None:
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


def save_phantom(model: Any, processor: Any, output: Path) -> None:
    """Write the model as `from_pretrained` reads it: float16 safetensors, processor and sidecar."""
    import torch

    (output / "calibration.json").unlink(missing_ok=True)  # it belongs to the weights that go
    half = model.to(torch.float16)
    half.save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner only
    processor.save_pretrained(output)
    sidecar = {"notice": NOTICE, "default_prompt": REPORT_PROMPT}
    (output / "medinterp.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
