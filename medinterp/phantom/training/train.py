"""`make phantom`: draws the pool, trains the tower, then the language model, and writes the packaged weights."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from medinterp.phantom.reports import REPORT_PROMPT
from medinterp.phantom.training.assemble import make_model, make_processor, make_tokenizer
from medinterp.phantom.training.controls import CONTROLS, ControlName, train_control
from medinterp.phantom.training.language import LanguageTrainer
from medinterp.phantom.training.pool import draw_pool
from medinterp.phantom.training.recipe import Recipe
from medinterp.phantom.training.steps import checkpoint_path, take_steps
from medinterp.phantom.training.tower import TowerTrainer

NOTICE = "Demo model: reads synthetic films only."


def train(
    work: Path, output: Path, *, seed: int = 0, recipe: Recipe | None = None, control: ControlName | None = None
) -> None:
    """Train phantom from nothing, or go on where an earlier run in the same work directory stopped.

    control: train a control model of the benchmark instead (see `controls`), by its own recipe where none is given;
    it starts from the packaged model and is never written over it. Raises ModelError where it would be.
    """
    work.mkdir(parents=True, exist_ok=True)
    if control is None:
        model, processor = _train_phantom(work, seed, recipe or Recipe())
        save_phantom(model, processor, output)
    else:
        model, processor = train_control(control, work, output, seed, recipe)
        save_phantom(model, processor, output, CONTROLS[control].notice)


def _train_phantom(work: Path, seed: int, recipe: Recipe) -> tuple[Any, Any]:
    workers = os.cpu_count() or 1
    pool = draw_pool(work / "pool", 0, recipe.films, 256, workers)
    crowded = draw_pool(work / "pool", 0, recipe.crowded_films, 256, workers, kind="crowded")
    tokenizer = make_tokenizer()
    processor = make_processor(tokenizer)
    model = make_model(tokenizer, seed)
    tower = TowerTrainer(
        model, tokenizer, pool, crowded, batch=recipe.tower_batch, learning_rate=recipe.tower_rate, seed=seed
    )
    take_steps("tower", tower, recipe.tower_steps, checkpoint_path(work, "tower", recipe.name, seed))
    language = LanguageTrainer(model, processor, pool, recipe.stages(), learning_rate=recipe.language_rate, seed=seed)
    take_steps("language", language, recipe.language_steps, checkpoint_path(work, "language", recipe.name, seed))
    return model, processor


def save_phantom(model: Any, processor: Any, output: Path, notice: str = NOTICE) -> None:
    """Write the model as `from_pretrained` reads it: float16 safetensors, processor and sidecar."""
    import torch

    (output / "calibration.json").unlink(missing_ok=True)  # it belongs to the weights that go
    half = model.to(torch.float16)
    half.save_pretrained(output)
    (output / "model.safetensors").chmod(0o644)  # safetensors makes it readable for its owner only
    processor.save_pretrained(output)
    sidecar = {"notice": notice, "default_prompt": REPORT_PROMPT}
    (output / "medinterp.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
