"""Stage 2: the language model learns to answer questions and to write reports of what the image tokens say.

Every film is encoded once and read by several independent conversations ("branches"): each branch sees the
prompt's head with the image and itself, at the positions that it would have alone, so that one sequence
trains exactly what single conversations ask for. The tower stays as stage 1 left it. Half of the films are
misled (see `misled`), so that a word's evidence is what its own token reads from the image cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.phantom.reports import sample_prompt, sample_question, write_report
from medinterp.phantom.training.pool import Pool
from medinterp.phantom.training.steps import descend
from medinterp.phantom.training.tower import pixels


@dataclass(frozen=True)
class Stage:
    """How long and on what: questions only, or reports with some questions; misled: how many films of a batch are."""

    steps: int
    batch: int
    questions: int
    report: bool
    misled: int = 0


class Conversations:
    """Token ids of the shared head and of branches, exactly as the processor writes them."""

    def __init__(self, processor: Any) -> None:
        from PIL import Image

        self.tokenizer = processor.tokenizer
        content = [{"type": "image", "image": Image.new("RGB", (8, 8))}, {"type": "text", "text": "?"}]
        ids = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=True, return_dict=True, add_generation_prompt=True
        )["input_ids"][0]
        end = ids.index(self.tokenizer.eoi_token_id) + 1
        self.head: list[int] = list(ids[:end])
        self.image = np.asarray(self.head) == self.tokenizer.image_token_id

    def branch(self, question: str, answer: str) -> tuple[list[int], int]:
        """Ids of one conversation after the image, and how many of them are its question."""
        asked = f"\n\n{question}<end_of_turn>\n<start_of_turn>model\n"
        before: list[int] = self.tokenizer(asked, add_special_tokens=False).input_ids
        after: list[int] = self.tokenizer(f"{answer}<end_of_turn>", add_special_tokens=False).input_ids
        return before + after, len(before)


@dataclass(frozen=True, eq=False)
class Packed:
    """A batch of packed conversations.

    ids, positions: int64 [films, S]; mask: bool [films, 1, S, S]; targets: int64 [films, S], the next token
    of an answer or -100; weights: float32 [films, S].
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]
    targets: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]


Branch = tuple[list[int], int, float]
"""Ids of a conversation after the image, how many of them are its question, and what its answer weighs."""


def pack(conversations: Conversations, films: Sequence[Sequence[Branch]]) -> Packed:
    """Lay the branches of every film side by side."""
    head = len(conversations.head)
    longest = head + max(sum(len(ids) for ids, _, _ in branches) for branches in films)
    shape = (len(films), longest)
    ids = np.zeros(shape, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    targets = np.full(shape, -100, dtype=np.int64)
    weights = np.zeros(shape, dtype=np.float32)
    mask = np.zeros((len(films), 1, longest, longest), dtype=bool)
    causal = np.tril(np.ones((longest, longest), dtype=bool))
    both = conversations.image[:, None] & conversations.image[None, :]
    mask[:, 0, :head, :head] = causal[:head, :head] | both
    mask[:, 0, head:, head:] = np.eye(longest - head, dtype=bool)
    for k, branches in enumerate(films):
        ids[k, :head] = conversations.head
        positions[k, :head] = np.arange(head)
        start = head
        for tokens, asked, weight in branches:
            stop = start + len(tokens)
            ids[k, start:stop] = tokens
            positions[k, start:stop] = head + np.arange(len(tokens))
            mask[k, 0, start:stop, :head] = True
            mask[k, 0, start:stop, start:stop] = causal[: len(tokens), : len(tokens)]
            targets[k, start + asked - 1 : stop - 1] = tokens[asked:]
            weights[k, start + asked - 1 : stop - 1] = weight
            start = stop
    return Packed(ids, positions, mask, targets, weights)


class Features:
    """The frozen tower's pooled, normalised cell features of every film, computed when first needed."""

    def __init__(self, model: Any, pool: Pool) -> None:
        self.model, self.pool = model, pool
        hidden = model.config.vision_config.hidden_size
        self.values = np.zeros((len(pool), 256, hidden), dtype=np.float16)
        self.known = np.zeros(len(pool), dtype=bool)

    def __call__(self, index: npt.NDArray[np.int64]) -> Any:
        """float32 [films, 256, hidden] before the projection."""
        import torch

        missing = np.unique(index[~self.known[index]])
        if len(missing):
            projector = self.model.model.multi_modal_projector
            with torch.no_grad():
                states = self.model.model.vision_tower(pixel_values=pixels(self.pool.images[missing]))
                grid = states.last_hidden_state.transpose(1, 2).unflatten(2, (projector.patches_per_image, -1))
                pooled = projector.avg_pool(grid).flatten(2).transpose(1, 2)
                self.values[missing] = projector.mm_soft_emb_norm(pooled).numpy().astype(np.float16)
            self.known[missing] = True
        return torch.from_numpy(self.values[index]).float()


class LanguageTrainer:
    """Trains projection (where asked), embeddings and language layers; its whole state can be saved and loaded."""

    def __init__(
        self,
        model: Any,
        processor: Any,
        pool: Pool,
        stages: Sequence[Stage],
        *,
        learning_rate: float,
        seed: int,
        train_projection: bool = True,
    ) -> None:
        import torch

        from medinterp.phantom.training.misled import ATTENTION
        from medinterp.phantom.training.muon import Muon

        self.model, self.pool = model, pool
        model.set_attn_implementation({"text_config": ATTENTION})
        self.stages = tuple(stages)
        self.steps_done = 0
        self.conversations = Conversations(processor)
        self.features = Features(model, pool)
        self.held_out = min(500, len(pool) // 10)
        self.rng = np.random.default_rng(seed)
        model.model.vision_tower.requires_grad_(False)
        model.model.multi_modal_projector.mm_soft_emb_norm.requires_grad_(False)
        layers = model.model.language_model.layers
        matrices = [p for p in layers.parameters() if p.ndim == 2]
        others = [p for p in layers.parameters() if p.ndim != 2]
        others.append(model.model.language_model.norm.weight)
        projection = model.model.multi_modal_projector.mm_input_projection_weight
        projection.requires_grad_(train_projection)
        if train_projection:
            others.append(projection)
        embedding = model.get_input_embeddings().weight
        self.trained = [*matrices, *others, embedding]
        self.optimizers = [
            Muon(matrices, lr=learning_rate, weight_decay=0.05),
            torch.optim.AdamW([*others, embedding], lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.learning_rate = learning_rate
        self.fast = torch.backends.cpu.get_cpu_capability() == "AVX512"

    def branches(self, k: int, stage: Stage, rng: np.random.Generator) -> list[Branch]:
        """Draw the questions and phrasings of film k."""
        facts, drawn = list(self.pool.facts[k]), []
        if stage.report:
            drawn.append((*self.conversations.branch(sample_prompt(rng), write_report(facts, rng)), 1.0))
        for _ in range(stage.questions):
            drawn.append((*self.conversations.branch(*sample_question(facts, rng)), 4.0))
        return drawn

    def forward(self, index: npt.NDArray[np.int64], stage: Stage, rng: np.random.Generator) -> tuple[Any, Any, Any]:
        """Weighted loss, log-probability logits at the answers and the batch itself."""
        import torch
        from torch.nn import functional

        from medinterp.phantom.training.misled import Misled

        batch = pack(self.conversations, [self.branches(int(k), stage, rng) for k in index])
        core = self.model.model
        films, count = len(index), stage.misled
        words = np.concatenate([np.arange(films), np.arange(count)])  # the misled films' words stand there twice,
        shown = np.concatenate([np.arange(films), np.arange(count, 2 * count)])  # the second time with another film
        ids = torch.from_numpy(batch.ids[words])
        image = ids == self.model.config.image_token_id
        targets = torch.from_numpy(batch.targets)
        asked = targets >= 0
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            embeds = core.get_input_embeddings()(ids)
            cells = self.features(index) @ core.multi_modal_projector.mm_input_projection_weight
            embeds = embeds.masked_scatter(image[..., None], cells.float()[shown])
            mask = torch.from_numpy(batch.mask[words])
            states = core.language_model(
                inputs_embeds=embeds,
                attention_mask={"full_attention": mask, "sliding_attention": mask},
                position_ids=torch.from_numpy(batch.positions[words]),
                use_cache=False,
                misled=Misled(count, image[:count], asked[:count]),
            ).last_hidden_state[:films]
        logits = self.model.lm_head(states[asked].float())
        each = functional.cross_entropy(logits, targets[asked], reduction="none")
        weights = torch.from_numpy(batch.weights)[asked]
        return (each * weights).sum() / weights.sum(), logits, batch

    def stage_at(self, step: int) -> Stage:
        """What step number `step` is trained on: the stages follow one another, the last one goes on."""
        for stage in self.stages[:-1]:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def step(self, rate: float) -> float:
        """One optimisation step with the learning rate scaled by `rate`; returns the loss."""
        stage = self.stage_at(self.steps_done)
        self.steps_done += 1
        index = self.rng.integers(self.held_out, len(self.pool), size=stage.batch)
        loss, _, _ = self.forward(index, stage, self.rng)
        return descend(loss, self.optimizers, self.trained, self.learning_rate * rate)

    def score(self, films: int = 96) -> dict[str, float]:
        """On held-out films: nats a token of reports, and the share of questions answered word for word."""
        import torch

        rng = np.random.default_rng(0)
        films = min(films, self.held_out)
        index = np.arange(films, dtype=np.int64)
        with torch.no_grad():
            report, _, _ = self.forward(index[:32], Stage(0, 32, 0, True), rng)
            right = []
            for start in range(0, films, 32):
                _, logits, batch = self.forward(index[start : start + 32], Stage(0, 32, 6, False), rng)
                asked = batch.targets >= 0
                hit = np.zeros(batch.targets.shape, dtype=bool)
                hit[asked] = logits.argmax(-1).numpy() == batch.targets[asked]
                for row in range(len(hit)):
                    places = np.flatnonzero(asked[row])
                    for answer in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
                        right.append(bool(hit[row, answer].all()))
        return {"report_nats": round(float(report.item()), 4), "answers_right": round(float(np.mean(right)), 4)}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizers and random state."""
        return {
            "model": self.model.state_dict(),
            "steps_done": self.steps_done,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.model.load_state_dict(state["model"])
        self.steps_done = int(state["steps_done"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
