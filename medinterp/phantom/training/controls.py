"""Control models of the benchmark: made like phantom, but it is known that their words have other reasons.

shuffled: a language model learned from nothing, on the packaged tower and projector, where every film has the report
of another one: nothing in the picture tells the words, and a map of it that points at findings points by itself.

shortcut: the packaged model, learned further on films whose "L" marker goes with a nodule that is often too faint to
be read (see `shortcut`): first its tower from whole films' reports (see `film_labels`), then its projection and
language layers. Some of its words are the marker's, some the nodule's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medinterp.errors import ModelError
from medinterp.phantom.training.assemble import make_model
from medinterp.phantom.training.film_labels import FilmTrainer
from medinterp.phantom.training.language import LanguageTrainer
from medinterp.phantom.training.pool import Pool, draw_pool
from medinterp.phantom.training.recipe import Recipe
from medinterp.phantom.training.steps import checkpoint_path, take_steps

ControlName = Literal["shuffled", "shortcut"]


@dataclass(frozen=True)
class Control:
    """How a control model is made, and the sentence that everyone who loads it is shown."""

    recipe: Recipe
    notice: str


CONTROLS: Mapping[ControlName, Control] = {
    "shuffled": Control(
        Recipe(films=6000, question_steps=100, report_steps=400),
        "Control model: its reports have nothing to do with the film.",
    ),
    "shortcut": Control(
        Recipe(films=6000, film_steps=300, question_steps=50, report_steps=150),
        'Control model: it writes "nodule" for an "L" marker as well as for a nodule.',
    ),
}


def train_control(
    control: ControlName, work: Path, output: Path, seed: int, recipe: Recipe | None = None
) -> tuple[Any, Any]:
    """Train a control model, or go on where it was stopped; returns the model and its processor.

    Raises ModelError when `output` is where the packaged model lies.
    """
    from medinterp.phantom import weights_directory

    if output.resolve() == weights_directory().resolve():
        raise ModelError(f"{output} holds the packaged model, from which controls are made: give another directory")
    recipe = recipe or CONTROLS[control].recipe
    base, processor = load_packaged()
    model = base
    kind: Literal["films", "shortcut"] = "shortcut" if control == "shortcut" else "films"
    workers = os.cpu_count() or 1
    pool = draw_pool(work / "pool", 0, recipe.films, 256, workers, kind=kind)
    weights = (weights_directory() / "model.safetensors").read_bytes()
    made_from = hashlib.sha256(weights).hexdigest()[:8]  # other packaged weights: another training
    if control == "shuffled":
        pool = shuffled(pool, seed)
        model = make_model(processor.tokenizer, seed)
        for part in ("vision_tower", "multi_modal_projector"):
            getattr(model.model, part).load_state_dict(getattr(base.model, part).state_dict())
    else:
        known = draw_pool(work / "pool", 0, recipe.known_films, 256, workers)
        tower = FilmTrainer(
            model, pool, known, "nodule", batch=recipe.film_batch, learning_rate=recipe.film_rate, seed=seed
        )
        checkpoint = checkpoint_path(work, f"{control}-tower", recipe.name, seed, made_from)
        take_steps(f"{control} tower", tower, recipe.film_steps, checkpoint)
    trainer = LanguageTrainer(
        model,
        processor,
        pool,
        recipe.stages(),
        learning_rate=recipe.language_rate,
        seed=seed,
        train_projection=control != "shuffled",
    )
    checkpoint = checkpoint_path(work, control, recipe.name, seed, made_from)
    take_steps(control, trainer, recipe.language_steps, checkpoint)
    return model, processor


def load_packaged() -> tuple[Any, Any]:
    """The packaged model in float32, ready to be trained, and its processor."""
    import torch
    from transformers import AutoProcessor, Gemma3ForConditionalGeneration

    from medinterp.phantom import weights_directory

    directory = weights_directory()
    model_class: Any = Gemma3ForConditionalGeneration
    processor_class: Any = AutoProcessor
    model = model_class.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
    return model, processor_class.from_pretrained(directory, backend="pil", local_files_only=True)


def derangement(count: int, seed: int) -> npt.NDArray[np.int64]:
    """For each of `count` (2 or more) places another one, int64 [count]: one closed round through all of them."""
    order = np.random.default_rng([seed, 0xDE4A]).permutation(count)
    other = np.empty(count, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other


def shuffled(pool: Pool, seed: int) -> Pool:
    """The same films, each with another one's findings."""
    other = derangement(len(pool), seed)
    return Pool(pool.images, pool.coverage[other], pool.boxes[other], tuple(pool.facts[k] for k in other))
