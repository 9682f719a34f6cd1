"""phantom taught to say boxes: a LoRA adapter on the packaged model, which itself stays as it is, bit for bit.

The question and the answer are those of MedGemma 1.5, shortened (its instructions alone would fill phantom's sliding
window): `Where is the nodule? Output boxes.` and a JSON list of objects with `box_2d` and `label`. The boxes are those
of the films' exact masks, in thousandths of the film's own height and width, rounded to tens; absent is an empty list.
Reports and ordinary questions stay in the mixture, so that they stay as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import REPORT_PROMPT, Fact
from medinterp.phantom.training.controls import load_packaged
from medinterp.phantom.training.language import Branch, LanguageTrainer, Stage
from medinterp.phantom.training.pool import Pool, draw_pool
from medinterp.phantom.training.recipe import Recipe
from medinterp.phantom.training.steps import checkpoint_path, take_steps

QUESTION = "Where is the {finding}? Output boxes."
NOTICE = "Demo model: reads synthetic films only. Its boxes of small findings are often wrong."
RANK = 32
LINEAR = r".*language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"
RECIPE = Recipe(name="boxes", films=4000, question_steps=900, report_steps=500, batch=4, misled=2, language_rate=2.5e-3)
"""About three seconds of one core a step."""


def label_of(fact: Fact) -> str:
    """What a box is labelled, in the words of the reports."""
    if fact.name in ("nodule", "consolidation", "atelectasis"):
        return f"{fact.name} in the {fact.side} {fact.zone} zone"
    if fact.name == "rib fracture":
        return f"{fact.side} {fact.zone} rib fracture"
    if fact.name == "pneumothorax":
        return f"{fact.side} apical pneumothorax"
    return f"{fact.side} {fact.name}" if fact.side else fact.name


def box_of(box: Any) -> list[int]:
    """A box in shares [top, left, bottom, right] as [y0, x0, y1, x1] of 0 to 1000 in tens, at least one ten wide."""
    top, left, bottom, right = (round(100 * float(side)) for side in box)
    bottom, right = max(bottom, top + 1), max(right, left + 1)
    return [10 * side for side in (top, left, bottom, right)]


def answer(name: str, boxes: list[tuple[list[int], str]]) -> str:
    """The answer in MedGemma 1.5's form: first in words, then the list."""
    said = [{"box_2d": box, "label": label} for box, label in boxes]
    words = " ".join(f"{label[0].upper()}{label[1:]}." for _, label in boxes) or f"No {name}."
    return f"{words}\nFinal Answer: ```json\n{json.dumps(said)}\n```"


class BoxTrainer(LanguageTrainer):
    """Trains a LoRA adapter on the language layers; checkpoints hold the adapter, not the model."""

    def __init__(self, model: Any, processor: Any, pool: Pool, recipe: Recipe, *, seed: int) -> None:
        import torch
        from peft import LoraConfig, get_peft_model

        super().__init__(
            model,
            processor,
            pool,
            (
                Stage(recipe.question_steps, recipe.batch, 4, False, recipe.misled),
                Stage(recipe.report_steps, recipe.batch, 3, True, recipe.misled),
            ),
            learning_rate=recipe.language_rate,
            seed=seed,
            train_projection=False,
        )
        torch.manual_seed(seed)
        digits = processor.tokenizer.convert_tokens_to_ids(list("0123456789"))
        config = LoraConfig(
            r=RANK,
            lora_alpha=RANK,
            target_modules=LINEAR,
            bias="none",
            trainable_token_indices={"embed_tokens": digits},
        )
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5 by an older name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self.adapted = get_peft_model(model, config)
        self._tell_digits_apart(len(digits), seed)
        self.trained = [p for p in self.adapted.parameters() if p.requires_grad]
        self.optimizers = [torch.optim.AdamW(self.trained, betas=(0.9, 0.98), weight_decay=0.0)]

    def _tell_digits_apart(self, count: int, seed: int) -> None:
        """No report holds a digit: phantom's rows for them are nearly one, and must be told apart to be learned.

        Drawn, and smoothed so that neighbours are alike: they are places.
        """
        import torch

        width = self.model.config.text_config.hidden_size
        drawn = np.random.default_rng([seed, 0xD161]).normal(size=(count + 2, width))
        rows = drawn[:-2] + 1.5 * drawn[1:-1] + drawn[2:]
        rows *= 1.6 / np.linalg.norm(rows, axis=1, keepdims=True)
        (delta,) = (p for name, p in self.adapted.named_parameters() if p.requires_grad and "trainable_tokens" in name)
        with torch.no_grad():
            delta.copy_(torch.from_numpy(rows))

    def branches(self, k: int, stage: Stage, rng: np.random.Generator) -> list[Branch]:
        """The conversations of film k: those of phantom's own training and `stage.questions` for boxes."""
        drawn = super().branches(k, Stage(0, 0, questions=1, report=stage.report), rng)
        facts, boxes = self.pool.facts[k], self.pool.boxes[k]
        for _ in range(stage.questions):
            present = facts and rng.random() < 0.75
            name = facts[int(rng.integers(len(facts)))].name if present else str(rng.choice(NAMES))
            found = [(box_of(boxes[i]), label_of(fact)) for i, fact in enumerate(facts) if fact.name == name]
            drawn.append((*self.conversations.branch(QUESTION.format(finding=name), answer(name, found)), 2.0))
        return drawn

    def state_dict(self) -> dict[str, Any]:
        """The adapter, its optimizer and the random state."""
        from peft import get_peft_model_state_dict

        return {**super().state_dict(), "model": get_peft_model_state_dict(self.adapted)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.adapted, state["model"])
        super().load_state_dict({**state, "model": self.model.state_dict()})


def train_boxes(work: Path, output: Path, *, seed: int = 0, recipe: Recipe = RECIPE) -> None:
    """Train the adapter, or go on where it was stopped; writes it to `output` as peft does, with its sidecar."""
    from medinterp.phantom import weights_directory

    pool = draw_pool(work / "pool", 0, recipe.films, 256, os.cpu_count() or 1)
    model, processor = load_packaged()
    made_from = hashlib.sha256((weights_directory() / "model.safetensors").read_bytes()).hexdigest()[:8]
    trainer = BoxTrainer(model, processor, pool, recipe, seed=seed)
    take_steps("boxes", trainer, recipe.language_steps, checkpoint_path(work, recipe.name, seed, made_from))
    trainer.adapted.peft_config["default"].base_model_name_or_path = "phantom"
    trainer.adapted.save_pretrained(str(output))
    config = output / "adapter_config.json"
    told = json.loads(config.read_text(encoding="utf-8"))  # peft writes its sets in any order
    told["target_modules"] = LINEAR
    config.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (output / "adapter_model.safetensors").chmod(0o644)
    sidecar = {"notice": NOTICE, "default_prompt": REPORT_PROMPT, "box_question": QUESTION}
    (output / "medinterp.json").write_text(json.dumps(sidecar, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(weights_directory() / "films.json", output / "films.json")  # it reads the same films
