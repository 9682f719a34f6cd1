"""phantom taught to say boxes: what it learns from, and the packaged adapter."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from medinterp import Explainer
from medinterp.phantom import weights_directory
from medinterp.phantom.films import box_of_mask, draw_film, facts_of, sample_film
from medinterp.phantom.findings import NAMES
from medinterp.phantom.reports import Fact
from medinterp.phantom.training.boxes import RECIPE, BoxTrainer, answer, box_of, label_of
from medinterp.phantom.training.controls import load_packaged
from medinterp.phantom.training.pool import CROWDED_SLOTS, Pool
from medinterp.report import box_question, read_report


def test_the_box_of_a_mask() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 4:10] = True
    assert box_of_mask(mask) == (0.2, 0.2, 0.5, 0.5)
    assert box_of_mask(np.zeros((10, 20), bool)) == (0.0, 0.0, 0.0, 0.0)
    assert box_of((0.2, 0.2, 0.201, 0.5)) == [200, 200, 210, 500]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_is_read_as_it_is_meant(name: str) -> None:
    side = None if name in ("cardiomegaly", "tube") else "left"
    zone = "lower" if name in ("nodule", "consolidation", "atelectasis", "rib fracture") else None
    said = answer(name, [([620, 110, 800, 330], label_of(Fact(name, side, zone, "small")))])
    report = read_report(said)
    (box,) = report.boxes
    assert box.edges == pytest.approx((0.11, 0.62, 0.33, 0.8)) and box.finding == name and not box.flaws
    assert {(f.name, f.status, f.side) for f in report.findings} == {(name, "present", side)}
    assert len(report.findings) == 2, "in words, and on the box"
    absent = read_report(answer(name, []))
    assert not absent.boxes and absent.box_notes
    assert {(finding.name, finding.status) for finding in absent.findings} == {(name, "absent")}


def test_a_step_moves_the_adapter_and_nothing_of_the_base() -> None:
    film = sample_film(3)
    drawing = draw_film(film, 256, 256)
    boxes = np.zeros((4, CROWDED_SLOTS, 4), np.float32)
    boxes[:, : len(drawing.masks)] = [box_of_mask(mask) for mask in drawing.masks]
    coverage = np.zeros((4, CROWDED_SLOTS, 16, 16), np.uint8)
    pool = Pool(np.stack([drawing.uint8()] * 4), coverage, boxes, (tuple(facts_of(film, drawing)),) * 4)
    model, processor = load_packaged()
    recipe = replace(RECIPE, batch=2, misled=1, question_steps=1, report_steps=0)
    trainer = BoxTrainer(model, processor, pool, recipe, seed=0)
    before = {name: weight.detach().clone() for name, weight in trainer.adapted.named_parameters()}
    assert trainer.step(1.0) > 0.0
    moved = {name for name, weight in trainer.adapted.named_parameters() if not weight.equal(before[name])}
    assert moved and all("lora_" in name or "trainable_tokens" in name for name in moved)
    assert any("lora_B" in name for name in moved) and any("trainable_tokens" in name for name in moved)
    again = BoxTrainer(*load_packaged(), pool, recipe, seed=1)
    again.load_state_dict(trainer.state_dict())
    for (name, ours), theirs in zip(trainer.adapted.named_parameters(), again.adapted.parameters(), strict=True):
        assert ours.equal(theirs), name


def test_the_packaged_adapter_says_boxes_and_still_reports() -> None:
    explainer = Explainer.from_pretrained("phantom-boxes")
    assert explainer.loaded.model_id == "phantom-boxes" and explainer.loaded.notice
    film = draw_film(sample_film(10_500_001), 320, 320).uint8()
    asked = explainer.explain(film, prompt=box_question("nodule", explainer.loaded.box_question), methods=["raw"])
    assert asked.report.complete and (asked.report.boxes or asked.report.box_notes)
    report = explainer.explain(film, methods=["raw"]).report
    assert [section.name for section in report.sections][-1] == "IMPRESSION" and not report.boxes
    digest = hashlib.sha256((weights_directory() / "model.safetensors").read_bytes()).hexdigest()
    assert digest.startswith("e643b6b0"), "phantom itself stays as it is"
