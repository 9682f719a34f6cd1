"""`make phantom`: draws the pool, trains the tower, then the language model, and writes the packaged weights."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from medinterp.phantom.reports import REPORT_PROMPT
from medinterp.phantom.training.assemble import make_model, make_processor, make_tokenizer
from medinterp.phantom.training.language import LanguageTrainer, Stage
from medinterp.phantom.training.pool import draw_pool
from medinterp.phantom.training.tower import train_tower

FILMS = 20_000
TOWER_STEPS, TOWER_BATCH, TOWER_RATE = 1500, 32, 2e-3
QUESTION_STEPS, STEPS, BATCH, QUESTIONS, RATE = 250, 1500, 16, 3, 2.5e-3
NOTICE = "Demo model: reads synthetic films only."


def train(work: Path, output: Path, *, seed: int = 0, films: int = FILMS, steps: int = STEPS) -> None:
    """Train phantom from nothing, or go on where an earlier run in the same work directory stopped."""
    import torch
    from tqdm import tqdm

    pool = draw_pool(work / "pool", 0, films, 256, workers=os.cpu_count() or 1)
    tokenizer = make_tokenizer()
    processor = make_processor(tokenizer)
    model = make_model(tokenizer, seed)
    tower, language = work / f"tower-{seed}.pt", work / f"language-{seed}.pt"
    if not tower.exists():
        train_tower(
            model, tokenizer, pool, steps=TOWER_STEPS, batch=TOWER_BATCH, learning_rate=TOWER_RATE, seed=seed
        )
        _save(model.state_dict(), tower)
    model.load_state_dict(torch.load(tower))
    trainer = LanguageTrainer(model, processor, pool, learning_rate=RATE, seed=seed)
    first = 0
    if language.exists():
        state = torch.load(language, weights_only=False)
        trainer.load_state_dict(state)
        first = int(state["step"])
    progress = tqdm(range(first, steps), initial=first, total=steps, desc="language", unit="step", mininterval=5)
    saved = time.monotonic()
    for step in progress:
        questions = Stage(QUESTION_STEPS, BATCH, 8, False)
        reports = Stage(steps, BATCH, QUESTIONS, True)
        loss = trainer.step(questions if step < QUESTION_STEPS else reports, learning_rate_at(step, steps))
        progress.set_postfix(loss=f"{loss:.3f}")
        if time.monotonic() - saved > 300 or step + 1 == steps:
            _save({"step": step + 1, **trainer.state_dict()}, language)
            saved = time.monotonic()
    print("language, held-out films:", trainer.score(), flush=True)
    save_phantom(model, processor, output)


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

    half = model.to(torch.float16)
    half.save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner only
    processor.save_pretrained(output)
    sidecar = {"notice": NOTICE, "default_prompt": REPORT_PROMPT}
    (output / "medinterp.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
