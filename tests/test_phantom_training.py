"""The packaged model's files, its tokenizer, and what it is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from medinterp.explainer import Explainer
from medinterp.phantom import weights_directory
from medinterp.phantom.films import box_of_mask, cells_of, draw_film, facts_of, sample_film
from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import sample_prompt, sample_question, write_report
from medinterp.phantom.training.assemble import make_processor, make_tokenizer
from medinterp.phantom.training.language import Conversations, LanguageTrainer, Stage, pack
from medinterp.phantom.training.muon import Muon, orthogonalize
from medinterp.phantom.training.pool import CROWDED_SLOTS, SLOTS, Pool, draw_pool
from medinterp.phantom.training.recipe import SMALL, Recipe
from medinterp.phantom.training.steps import checkpoint_path
from medinterp.phantom.training.tower import SIDE_WORDS, SIZE_WORDS, ZONE_WORDS, TowerTrainer, label_cells, pixels
from medinterp.phantom.training.train import train

FILMS = 12


@pytest.fixture(scope="module")
def pool() -> Pool:
    """A small pool of whole films."""
    images, coverage, boxes, facts = [], [], [], []
    for seed in range(FILMS):
        film = sample_film(seed)
        drawing = draw_film(film, 256, 256)
        images.append(drawing.uint8())
        slots = np.zeros((SLOTS, 16, 16), dtype=np.uint8)
        for slot, mask in enumerate(drawing.masks):
            slots[slot] = np.round(cells_of(mask) * 255)
        coverage.append(slots)
        boxes.append([box_of_mask(mask) for mask in drawing.masks] + [(0.0,) * 4] * (SLOTS - len(drawing.masks)))
        facts.append(tuple(facts_of(film, drawing)))
    return Pool(np.stack(images), np.stack(coverage), np.array(boxes, np.float32), tuple(facts))


@pytest.fixture(scope="module")
def packaged() -> tuple[Any, Any]:
    """The packaged model in float32 and its processor, from its directory alone."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    directory = weights_directory()
    model = AutoModelForImageTextToText.from_pretrained(directory, local_files_only=True, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(directory, local_files_only=True)


def test_the_weights_are_small_and_whole(packaged: tuple[Any, Any]) -> None:
    directory = weights_directory()
    names = {path.name for path in directory.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "processor_config.json", "medinterp.json"} <= names
    assert not any(path.suffix in (".bin", ".pt", ".pkl") for path in directory.iterdir())
    assert sum(path.stat().st_size for path in directory.rglob("*")) < 15 * 2**20
    model, processor = packaged
    assert type(model).__name__ == "Gemma3ForConditionalGeneration"
    assert model.config.vision_config.image_size == 256
    assert "full_attention" in model.config.text_config.layer_types
    assert "sliding_attention" in model.config.text_config.layer_types
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (64, 80))}]}],
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 256


def test_the_packaged_tokenizer_is_the_one_that_training_makes(packaged: tuple[Any, Any]) -> None:
    made, tokenizer = make_tokenizer(), packaged[1].tokenizer
    assert made.get_vocab() == tokenizer.get_vocab()
    text = write_report(list(facts_of(sample_film(3), draw_film(sample_film(3), 64, 64))), np.random.default_rng(0))
    assert made(text).input_ids == tokenizer(text).input_ids
    assert make_processor(made).chat_template == packaged[1].chat_template


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_the_tokenizer_loses_nothing(packaged: tuple[Any, Any], text: str) -> None:
    tokenizer = packaged[1].tokenizer
    if any(special in text for special in tokenizer.all_special_tokens):
        return
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text


def test_words_are_split_into_several_tokens(packaged: tuple[Any, Any]) -> None:
    tokenizer = packaged[1].tokenizer
    names = [tokenizer(" " + name, add_special_tokens=False).input_ids for name in NAMES]
    assert sum(len(ids) > 1 for ids in names) >= 4
    assert len(tokenizer("É", add_special_tokens=False).input_ids) == 2
    assert tokenizer("A nodule").input_ids[0] == tokenizer.bos_token_id


def test_dense_labels_name_what_lies_in_a_cell(pool: Pool) -> None:
    labels = label_cells(pool)
    assert labels.names.shape == (FILMS, 256, len(NAMES))
    assert labels.attributes.shape == (FILMS, 256, 3)
    asked = 0
    for k, facts in enumerate(pool.facts):
        present = {fact.name for fact in facts}
        for index, name in enumerate(NAMES):
            cells = labels.names[k, :, index].astype(bool)
            assert cells.any() == (name in present), (k, name)
            mine = [slot for slot, fact in enumerate(facts) if fact.name == name]
            covered = pool.coverage[k, mine].reshape(-1, 256).astype(int).sum(axis=0)
            if name in present:
                assert (covered[cells] > 0).all()
                assert cells[int(covered.argmax())]
        for slot, fact in enumerate(facts):
            alone = pool.coverage[k, slot].reshape(256).astype(int)
            others = np.delete(pool.coverage[k], slot, axis=0).reshape(SLOTS - 1, 256).max(axis=0)
            cells = labels.names[k, :, NAMES.index(fact.name)].astype(bool) & (alone > others)
            if not cells.any():
                continue  # wholly under another finding
            sides, zones, sizes = labels.attributes[k, cells].T
            asked += len(sides)
            if fact.name == "tube":
                levels = {"high": "high", "mid": "tip mid", "low": "low"}
                rows = np.flatnonzero(cells) // 16
                tip = rows >= rows.max() - 1
                assert set(zones[tip]) == {ZONE_WORDS.index(levels[str(fact.zone)])}
                assert (zones[~tip] == -1).all()
                continue
            assert set(sides) == {SIDE_WORDS.index(fact.side) if fact.side else -1}
            assert set(zones) == {ZONE_WORDS.index(fact.zone) if fact.zone in ZONE_WORDS else -1}
            sized = fact.name in ("nodule", "consolidation", "pleural effusion", "pneumothorax")
            assert set(sizes) == {SIZE_WORDS.index(fact.size) if sized else -1}
    assert asked > 100
    empty = pool.coverage.max(axis=1).reshape(FILMS, 256) == 0
    assert not labels.names[empty].any()
    assert (labels.attributes[empty] == -1).all()


def test_pixels_are_what_the_image_processor_makes(pool: Pool, packaged: tuple[Any, Any]) -> None:
    image = Image.fromarray(pool.images[0]).convert("RGB")
    processed = packaged[1].image_processor(image, return_tensors="pt")["pixel_values"]
    assert processed.shape == (1, 3, 256, 256)
    np.testing.assert_allclose(pixels(pool.images[:1]).numpy(), processed.numpy(), atol=1e-6)


def conversations_of(pool: Pool, film: int, stage: Stage, rng: np.random.Generator) -> list[tuple[str, str]]:
    """What pack draws for a film, in the same order."""
    facts = list(pool.facts[film])
    drawn = [(sample_prompt(rng), write_report(facts, rng))] if stage.report else []
    return drawn + [sample_question(facts, rng) for _ in range(stage.questions)]


@pytest.mark.parametrize(("report", "questions"), [(True, 3), (False, 5), (True, 0)])
def test_packed_conversations_give_the_logits_of_single_ones(
    pool: Pool, packaged: tuple[Any, Any], report: bool, questions: int
) -> None:
    """Each single conversation goes through the processor and the whole model, as users run it."""
    import torch

    model, processor = packaged
    stage = Stage(1, 2, questions, report)
    trainer = LanguageTrainer(model, processor, pool, (stage,), learning_rate=1e-3, seed=0)
    trainer.fast = False
    index = np.array([1, 4])
    with torch.no_grad():
        _, logits, batch = trainer.forward(index, stage, np.random.default_rng(5))
    head = trainer.conversations.head
    rng = np.random.default_rng(5)
    expected, answers = [], []
    for film in index:
        for question, answer in conversations_of(pool, int(film), stage, rng):
            image = Image.fromarray(pool.images[film]).convert("RGB")
            content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
            turns = [
                {"role": "user", "content": content},
                {"role": "assistant", "content": [{"type": "text", "text": answer}]},
            ]
            inputs = processor.apply_chat_template(turns, tokenize=True, return_dict=True, return_tensors="pt")
            ids, asked = trainer.conversations.branch(question, answer)
            stop = len(head) + len(ids)
            assert inputs["input_ids"][0, :stop].tolist() == head + ids
            with torch.no_grad():
                single = model(**inputs).logits[0]
            expected.append(single[len(head) + asked - 1 : stop - 1])
            answers.append(torch.tensor(ids[asked:]))
    together = torch.cat(expected)
    assert together.shape == logits.shape
    # The tower's features are kept in half precision: that is all that may differ.
    assert float((together - logits).abs().max()) < 5e-3
    assert batch.targets[batch.targets >= 0].tolist() == torch.cat(answers).tolist()


def test_a_branch_sees_the_image_and_itself_only(pool: Pool, packaged: tuple[Any, Any]) -> None:
    conversations = Conversations(packaged[1])
    asked = [("Where is the nodule?", "Left."), ("Is there a tube?", "No."), ("Report.", "LUNGS: Clear.")]
    packed = pack(conversations, [[(*conversations.branch(*one), 1.0) for one in asked]])
    head = len(conversations.head)
    mask, positions = packed.mask[0, 0], packed.positions[0]
    starts = [k for k in range(head, len(positions)) if positions[k] == head]
    assert len(starts) == 3
    assert mask[np.ix_(conversations.image, conversations.image)].all()
    for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True):
        np.testing.assert_array_equal(positions[start:stop], head + np.arange(stop - start))
        assert mask[start:stop, :head].all()
        assert not mask[start:stop, head:start].any()
        assert not mask[start:stop, stop:].any()
        np.testing.assert_array_equal(mask[start:stop, start:stop], np.tri(stop - start, dtype=bool))
        assert packed.targets[0, stop - 1] == -100
    assert not mask[:head, head:].any()
    assert ((packed.weights > 0) == (packed.targets >= 0)).all()


def test_no_conversation_outgrows_the_sliding_window(packaged: tuple[Any, Any]) -> None:
    """Packed, every layer sees the whole conversation; alone, a sliding layer does up to its window."""
    model, processor = packaged
    conversations = Conversations(processor)
    rng = np.random.default_rng(0)
    longest = 0
    for seed in range(150):
        facts = facts_of(sample_film(seed), draw_film(sample_film(seed), 32, 32))
        ids, _ = conversations.branch(max((sample_prompt(rng) for _ in range(4)), key=len), write_report(facts, rng))
        longest = max(longest, len(conversations.head) + len(ids))
    assert longest <= model.config.text_config.sliding_window


def test_every_step_has_its_stage(pool: Pool, packaged: tuple[Any, Any]) -> None:
    stages = (Stage(2, 4, 8, False), Stage(3, 4, 3, True))
    trainer = LanguageTrainer(*packaged, pool, stages, learning_rate=1e-3, seed=0)
    assert [trainer.stage_at(step).report for step in (0, 1, 2, 4, 99)] == [False, False, True, True, True]


def test_muon_orthogonalises_and_descends() -> None:
    """Singular values between 0.5 and 1.5 in the same directions; torch's own in bfloat16 goes the same way."""
    import torch

    torch.manual_seed(0)
    for rows, columns in ((6, 6), (4, 9), (9, 4)):
        rank = min(rows, columns)
        left = torch.linalg.qr(torch.randn(rows, rank)).Q
        right = torch.linalg.qr(torch.randn(columns, rank)).Q
        made = orthogonalize(left @ torch.diag(torch.linspace(0.1, 3.0, rank)) @ right.T)
        turned = left.T @ made @ right
        values = torch.diagonal(turned)
        assert 0.6 < float(values.min()) < float(values.max()) < 1.3
        assert float((turned - torch.diag(values)).abs().max()) < 1e-3
    ours, theirs = torch.nn.Parameter(torch.ones(8, 5)), torch.nn.Parameter(torch.ones(8, 5))
    mine = Muon([ours], lr=0.1, weight_decay=0.05)
    torchs = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    target = torch.randn(8, 5)
    for _ in range(20):
        for weight, optimizer in ((ours, mine), (theirs, torchs)):
            optimizer.zero_grad()
            ((weight - target) ** 2).sum().backward()
            optimizer.step()
    assert float((ours - theirs).detach().abs().max()) < 0.05
    assert float((ours - target).detach().norm()) < 0.8 * float((1 - target).norm())


def test_training_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps of each stage, straight through, and stopped in the middle of each."""
    recipe = Recipe(
        films=20, crowded_films=4, tower_steps=3, tower_batch=2, question_steps=1, report_steps=2, batch=2, misled=1
    )
    train(tmp_path / "work", tmp_path / "straight", recipe=recipe)
    for checkpoint in (tmp_path / "work").glob("*.pt"):
        checkpoint.unlink()
    monkeypatch.setattr("medinterp.phantom.training.steps.CHECKPOINT_S", 0.0)
    taken: list[int] = []
    for trainer, stop_at in ((TowerTrainer, 1), (LanguageTrainer, 2)):
        step, calls = trainer.step, iter(range(99))

        def stopped(self: Any, rate: float, step: Any = step, calls: Any = calls, stop_at: int = stop_at) -> float:
            if next(calls) == stop_at:
                raise KeyboardInterrupt
            taken.append(stop_at)
            return float(step(self, rate))

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "step", stopped)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "work", tmp_path / "cut", recipe=recipe)
    train(tmp_path / "work", tmp_path / "cut", recipe=recipe)
    assert len(taken) == 3
    straight, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("straight", "cut"))
    assert straight.keys() == cut.keys()
    moved = 0.0
    for name, weights in straight.items():
        # A film's features may be computed beside other films: the last bits differ.
        np.testing.assert_allclose(cut[name].float(), weights.float(), atol=2e-3, err_msg=name)
        moved += float(weights.float().abs().sum())
    assert moved > 0
    assert Explainer.from_pretrained(str(tmp_path / "cut")).loaded.notice == "Demo model: reads synthetic films only."


def test_recipes_share_pools_and_no_checkpoint(tmp_path: Path) -> None:
    """The smaller recipe's films are the first files of the packaged one's; its checkpoints are its own."""
    full = Recipe()
    assert SMALL.films % 500 == 0 and SMALL.films < full.films
    assert SMALL.crowded_films % 500 == 0 and SMALL.crowded_films < full.crowded_films
    assert SMALL.misled / SMALL.batch == full.misled / full.batch
    assert sum(stage.steps for stage in SMALL.stages()) == SMALL.language_steps == 700
    paths = [checkpoint_path(tmp_path, "tower", recipe.name, seed) for recipe in (full, SMALL) for seed in (0, 1)]
    assert [path.name for path in paths] == ["tower-0.pt", "tower-1.pt", "tower-small-0.pt", "tower-small-1.pt"]


def test_a_crowded_pool_has_more_of_what_is_small(tmp_path: Path) -> None:
    crowded = draw_pool(tmp_path, 0, 4, 64, workers=1, kind="crowded", chunk=2)
    assert crowded.coverage.shape[1] == CROWDED_SLOTS
    assert sum(len(facts) for facts in crowded.facts) > 4 * SLOTS
    for facts, coverage in zip(crowded.facts, crowded.coverage, strict=True):
        assert [bool(slot.any()) for slot in coverage] == [k < len(facts) for k in range(CROWDED_SLOTS)]


def test_a_pool_is_drawn_once_and_read_again(tmp_path: Path) -> None:
    first = draw_pool(tmp_path, 100, 4, 64, workers=1, chunk=2)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = draw_pool(tmp_path, 100, 4, 64, workers=1, chunk=2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == stamps
    assert len(first) == len(again) == 4
    assert first.facts == again.facts
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.shape == (4, 64, 64)
    for facts, coverage in zip(first.facts, first.coverage, strict=True):
        assert [bool(slot.any()) for slot in coverage] == [k < len(facts) for k in range(SLOTS)]
