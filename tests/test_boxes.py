"""Says here, looked there: how maps lie to boxes, on any grid, and the question over library and HTTP."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import noise_film, save_small_model

from medinterp import Explainer, Explanation
from medinterp.api.backend import BoxesTask
from medinterp.api.store import unpack_record
from medinterp.api.store.record import pack_record
from medinterp.errors import GenerationCancelled, SelectionError
from medinterp.evaluation.box_reading import _moved, _text, iou
from medinterp.evaluation.boxes import judge_boxes, lie_of, verdict_of
from medinterp.evaluation.faithfulness import Judge
from medinterp.model import load_model
from medinterp.report import read_report
from medinterp.types import Box
from tests.api_samples import sample_explanation
from tests.sources_samples import sample_box_verdicts
from tests.test_api_asking import events_of, service

LISTED = '{"box_2d": [100, 100, 400, 300], "label": "nodule in the left upper zone"}'
TEXT = f"A small nodule in the left upper zone.\nNo tube.\n[{LISTED}]"
SWAPS = (noise_film(8), noise_film(9))


def box(left: float, top: float, right: float, bottom: float) -> Box:
    return Box(0, "nodule", left, top, right, bottom, 0, 0, (), ())


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (14, 18), (9, 28), (31, 40)])
def test_a_map_in_the_box_and_one_elsewhere_on_any_grid(rows: int, columns: int) -> None:
    values = np.zeros((rows, columns), np.float32)
    values[2:4, 3:5] = 1.0
    values[-1, -1] = -5.0
    inside = lie_of(box(3 / columns, 2 / rows, 5 / columns, 4 / rows), (1,), 9.0, values)
    assert inside.share == pytest.approx(1.0) and inside.peak_inside and inside.iou > 0.6
    assert inside.peak == pytest.approx((3.5 / columns, 2.5 / rows))
    away = lie_of(box(0.6, 0.6, 0.9, 0.9), (1,), 9.0, values)
    assert (away.share, away.peak_inside, away.iou) == (0.0, False, 0.0)
    assert verdict_of(inside, None) == "agrees" and verdict_of(away, None) == "elsewhere"
    assert verdict_of(inside, away) == verdict_of(away, inside) == "elsewhere"
    assert verdict_of(inside, replace(away, reliance=0.1)) == "agrees", "words of the text's say nothing of the film"
    assert verdict_of(replace(inside, reliance=0.1), None) == "text"
    assert verdict_of(replace(inside, share=0.3), None) == "unclear"


def test_a_map_that_says_nothing_agrees_with_no_box() -> None:
    flat = lie_of(box(0.2, 0.2, 0.4, 0.4), (1,), 9.0, np.full((16, 16), -1.0, np.float32))
    assert flat.iou == 0.0 and verdict_of(flat, None) != "agrees"


def test_iou_and_planted_boxes() -> None:
    one = (0.1, 0.1, 0.3, 0.5)
    assert iou(one, one) == pytest.approx(1.0) and iou(one, (0.2, 0.1, 0.4, 0.5)) == pytest.approx(1 / 3)
    for seed in range(20):
        assert iou(one, _moved([one], np.random.default_rng(seed))) == 0.0
    (read,) = read_report(_text(one, "nodule")).boxes
    assert read.edges == pytest.approx(one)


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    return Explainer(load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=2))))


@pytest.fixture(scope="module")
def explanation(explainer: Explainer) -> Explanation:
    return explainer.explain(noise_film(1), report=TEXT, methods=["occlusion"], force=True)


def test_boxes_are_judged_by_their_own_words_and_the_findings(explainer: Explainer, explanation: Explanation) -> None:
    told: list[tuple[int, int]] = []
    (found,) = explainer.judge_boxes(explanation, swaps=SWAPS, progress=lambda done, of: told.append((done, of)))
    drawn, report = explanation.report.boxes[0], explanation.report
    assert found.own.token_indices == drawn.token_indices
    assert found.finding is not None
    elsewhere = {report.words[k].text for k in report.findings[0].word_indices}
    tokens = {t for word in report.words[:8] if word.text in elsewhere for t in word.token_indices}
    assert set(found.finding.token_indices) == tokens and not tokens & set(drawn.token_indices)
    values = explanation.map([report.words[k] for k in drawn.word_indices], "occlusion").values
    assert found.own == lie_of(drawn, drawn.token_indices, found.own.reliance, values)
    ids = [token.token_id for token in report.tokens]
    with explainer.loaded.lock:
        prompt = explanation.provenance.asked
        judge = Judge(explainer.loaded, explanation.films, prompt, ids, drawn.token_indices, swaps=SWAPS)
    assert found.own.reliance == pytest.approx(judge.reliance, abs=1e-4)
    assert told[-1][0] == told[-1][1] == 4, "maps that are there are not computed again"
    bare = replace(explanation, packs={})
    (again,) = explainer.judge_boxes(bare, swaps=SWAPS, progress=lambda done, of: told.append((done, of)))
    assert again.own.share == pytest.approx(found.own.share, abs=1e-3) and again.verdict == found.verdict
    assert told[-1][0] == told[-1][1] > 4


def test_what_cannot_be_judged(explainer: Explainer, explanation: Explanation) -> None:
    none = replace(explanation, report=replace(explanation.report, boxes=()))
    with pytest.raises(SelectionError, match="no box"):
        explainer.judge_boxes(none, swaps=SWAPS)
    asked = (explainer.loaded, explanation.films, explanation.report, explanation.provenance.prompt)
    with pytest.raises(GenerationCancelled):
        judge_boxes(*asked, swaps=SWAPS, cancelled=lambda: True)


def test_the_model_is_asked_once_over_http(tmp_path: Path) -> None:
    async def run() -> None:
        async with service(tmp_path) as (client, backend, report):
            answer = await client.post(f"/reports/{report}/boxes")
            assert answer.status_code == 200, answer.text
            (verdict,) = answer.json()["boxes"]
            assert (verdict["verdict"], verdict["own"]["iou"], verdict["finding"]) == ("elsewhere", 0.25, None)
            assert (await client.post(f"/reports/{report}/boxes", json={})).json() == answer.json()
            assert backend.asked == [BoxesTask()]
            assert (await client.get(f"/reports/{report}")).json()["box_verdicts"] == [verdict]
            exported = json.loads((await client.get(f"/reports/{report}/export?format=json")).content)
            assert exported["box_verdicts"] == [verdict]
            stream = {"Accept": "text/event-stream"}
            streamed = await client.post(f"/reports/{report}/boxes", headers=stream)
            assert events_of(streamed.text)[-1] == ("boxes", answer.json())
            job = await client.post(f"/reports/{report}/boxes", headers={"Prefer": "respond-async"})
            assert job.status_code == 202 and job.json()["kind"] == "boxes"

    asyncio.run(run())


def test_boxes_and_verdicts_come_back_from_the_store() -> None:
    report = read_report(TEXT)
    kept = replace(sample_explanation(), report=report, box_verdicts=sample_box_verdicts())
    found = unpack_record(pack_record(kept))
    assert (found.report.boxes, found.report.box_notes) == (report.boxes, report.box_notes) and report.boxes
    assert found.box_verdicts == kept.box_verdicts
