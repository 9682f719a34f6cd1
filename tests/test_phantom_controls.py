"""Control models: nothing, or a marker, tells their words; and the commands that make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from medinterp.cli import main
from medinterp.errors import ModelError
from medinterp.model import load_model
from medinterp.phantom import weights_directory
from medinterp.phantom.reports import Fact
from medinterp.phantom.training.controls import CONTROLS, ControlName, derangement, shuffled
from medinterp.phantom.training.film_labels import FilmTrainer
from medinterp.phantom.training.language import LanguageTrainer
from medinterp.phantom.training.pool import Pool, draw_pool
from medinterp.phantom.training.recipe import SMALL, Recipe
from medinterp.phantom.training.tower import pixels
from medinterp.phantom.training.train import train

TINY = Recipe(
    name="tiny",
    films=20,
    film_steps=2,
    film_batch=4,
    film_rate=2e-2,
    known_films=8,
    question_steps=1,
    report_steps=2,
    batch=2,
    misled=1,
    language_rate=1e-2,
)
VISION, PROJECTION, LAYERS = "vision_tower", "mm_input_projection", "language_model.model.layers"


@given(st.integers(2, 300), st.integers(0, 50))
def test_the_derangement_leaves_nothing_in_its_place(count: int, seed: int) -> None:
    other = derangement(count, seed)
    assert sorted(other) == list(range(count))
    assert (other != np.arange(count)).all()
    np.testing.assert_array_equal(other, derangement(count, seed))


def test_shuffled_films_have_the_facts_of_others() -> None:
    facts = tuple((Fact("nodule", "left", "upper", str(k)),) for k in range(30))
    images = np.arange(30, dtype=np.uint8)[:, None, None] + np.zeros((30, 4, 4), dtype=np.uint8)
    coverage = np.arange(30, dtype=np.uint8)[:, None, None, None] + np.zeros((30, 1, 16, 16), dtype=np.uint8)
    boxes = coverage[:, :, 0, :4].astype(np.float32)
    pool = shuffled(Pool(images, coverage, boxes, facts), seed=3)
    np.testing.assert_array_equal(pool.images, images)
    other = [int(film[0].size) for film in pool.facts]
    assert sorted(other) == list(range(30)) and all(k != film for k, film in enumerate(other))
    np.testing.assert_array_equal(pool.coverage[:, 0, 0, 0], other)
    np.testing.assert_array_equal(pool.boxes[:, 0, 0], other)
    assert shuffled(Pool(images, coverage, boxes, facts), seed=4).facts != pool.facts


@pytest.mark.parametrize("control", list(CONTROLS))
def test_a_control_is_trained_resumed_and_loaded(
    control: ControlName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Straight through, and stopped in the middle: the same model, which loads as any other."""
    work = tmp_path / "work"
    train(work, tmp_path / "straight", recipe=TINY, control=control)
    checkpoints = {path.name: path for path in work.glob("*.pt")}
    assert len(checkpoints) == (2 if control == "shortcut" else 1)
    for checkpoint in checkpoints.values():
        checkpoint.unlink()
    monkeypatch.setattr("medinterp.phantom.training.steps.CHECKPOINT_S", 0.0)
    step, taken = LanguageTrainer.step, []

    def stopped(self: Any, rate: float) -> float:
        if len(taken) == 2:
            raise KeyboardInterrupt
        taken.append(rate)
        return step(self, rate)

    with monkeypatch.context() as patch:
        patch.setattr(LanguageTrainer, "step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(work, tmp_path / "cut", recipe=TINY, control=control)
    assert {path.name for path in work.glob("*.pt")} == set(checkpoints)
    train(work, tmp_path / "cut", recipe=TINY, control=control)
    straight, cut, packaged = (
        load_file(directory / "model.safetensors")
        for directory in (tmp_path / "straight", tmp_path / "cut", weights_directory())
    )
    assert straight.keys() == cut.keys() == packaged.keys()
    kept = (VISION, PROJECTION) if control == "shuffled" else ()
    for name, weights in straight.items():
        np.testing.assert_allclose(cut[name].float(), weights.float(), atol=2e-3, err_msg=name)
        if any(part in name for part in kept):
            np.testing.assert_array_equal(weights, packaged[name], err_msg=name)
    for part in {VISION, PROJECTION, LAYERS} - set(kept):
        names = [name for name in straight if part in name]
        assert max(float((straight[name] - packaged[name]).abs().max()) for name in names) > 1e-4, part
    loaded = load_model(str(tmp_path / "cut"))
    assert loaded.notice == CONTROLS[control].notice
    assert loaded.layer_weights is None


def test_a_shuffled_model_starts_from_nothing_and_a_shortcut_from_the_packaged_one(tmp_path: Path) -> None:
    """After a step or two, layers are near where they came from."""
    packaged = load_file(weights_directory() / "model.safetensors")
    distance = {}
    for control in CONTROLS:
        train(tmp_path, tmp_path / control, recipe=TINY, control=control)
        made = load_file(tmp_path / control / "model.safetensors")
        (name,) = [name for name in made if "language_model.model.layers.1.self_attn.q_proj" in name]
        distance[control] = float((made[name].float() - packaged[name].float()).norm() / packaged[name].float().norm())
    assert distance["shortcut"] < 0.3 < 0.8 < distance["shuffled"]


def test_a_film_has_the_finding_when_some_cell_has_it(tmp_path: Path) -> None:
    """The loss beside noisy-or spelled out in float64, on films whose known cells have not moved yet."""
    pool = draw_pool(tmp_path, 0, 12, 256, 1, kind="shortcut")
    loaded = load_model("phantom")
    trainer = FilmTrainer(loaded.model, pool, pool, "nodule", batch=4, learning_rate=1e-3, seed=0)
    index = np.arange(12)
    with torch.no_grad():
        cells = loaded.model.get_image_features(pixels(pool.images)).pooler_output.double().numpy()
        loss, moved = float(trainer.loss(index)), float(trainer.moved(index))
    nodule = np.array([any(fact.name == "nodule" for fact in facts) for facts in pool.facts])
    covered = np.zeros((12, 256), dtype=bool)
    for k, facts in enumerate(pool.facts):
        for slot, fact in enumerate(facts):
            if fact.name == "nodule":
                cover = pool.coverage[k, slot].ravel()
                covered[k] = cover >= min(127, cover.max())
    middle = cells.mean((0, 1))
    line = cells[covered].mean(0) - middle
    scores = (cells - middle) @ line / (line @ line)
    assert scores[covered].mean() == pytest.approx(1.0)
    present = 1 - np.prod(1 - 1 / (1 + np.exp(-8 * (scores - 1))), axis=1)
    assert 0 < nodule.sum() < 12
    assert loss == pytest.approx(-np.log(np.where(nodule, present, 1 - present)).mean(), rel=1e-4)
    assert moved == 0.0
    trainer.step(1.0)
    with torch.no_grad():
        assert float(trainer.moved(index)) > 1e-6


def test_a_control_is_not_written_over_the_packaged_model(tmp_path: Path) -> None:
    before = (weights_directory() / "medinterp.json").read_bytes()
    with pytest.raises(ModelError, match="another directory"):
        train(tmp_path, weights_directory(), recipe=TINY, control="shortcut")
    assert not list(tmp_path.rglob("*.*"))
    assert (weights_directory() / "medinterp.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "seed", "recipe", "control"),
    [
        ([], 0, None, None),
        (["--small", "--seed", "2"], 2, SMALL, None),
        (["--control", "shuffled"], 0, None, "shuffled"),
        (["--control", "shortcut", "--seed", "1"], 1, None, "shortcut"),
    ],
)
def test_the_command_trains_what_was_asked(
    arguments: list[str],
    seed: int,
    recipe: Recipe | None,
    control: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("medinterp.phantom.training.train.train", lambda *where, **how: asked.append((where, how)))
    where = ["--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert main(["phantom", "train", *where, *arguments]) == 0
    assert asked == [((tmp_path / "work", tmp_path / "out"), {"seed": seed, "recipe": recipe, "control": control})]


@pytest.mark.parametrize("arguments", [["--small", "--control", "shuffled"], ["--control", "other"]])
def test_what_makes_no_sense_is_refused(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["phantom", "train", "--out", str(tmp_path), *arguments])
    assert stopped.value.code == 2
