"""From a region to its words: what lies in a box, what each word has there, and the order."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.api.schema_region import RegionModel
from medinterp.api.store import unpack_record
from medinterp.errors import MissingEvidenceError, SelectionError
from medinterp.explanation import Explanation
from medinterp.relevancy import box_coverage, cells_coverage, rank_words, word_maps
from medinterp.types import MapPack, Word
from tests.api_samples import sample_explanation
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name

EDGES = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda pair: abs(pair[0] - pair[1]) > 1e-6).map(sorted)


def facade() -> Explanation:
    return Explanation(**vars(sample_explanation()))


@given(EDGES, EDGES, st.integers(1, 20), st.integers(1, 20))
def test_a_boxs_coverage_is_its_area(across: list[float], down: list[float], rows: int, columns: int) -> None:
    (left, right), (top, bottom) = across, down
    coverage = box_coverage((left, top, right, bottom), rows, columns)
    assert coverage.shape == (rows, columns)
    assert coverage.min() >= 0 and coverage.max() <= 1 + 1e-12
    assert coverage.sum() == pytest.approx((right - left) * (bottom - top) * rows * columns, rel=1e-6, abs=1e-12)


def test_a_box_by_hand() -> None:
    coverage = box_coverage((0.125, 0.0, 0.5, 0.25), 2, 4)
    np.testing.assert_allclose(coverage, [[0.25, 0.5, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(box_coverage((0, 0, 1, 1), 3, 5), 1.0)
    np.testing.assert_allclose(cells_coverage([(1, 3), (0, 0), (1, 3)], 2, 4), [[1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    "box", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.01), (0, 0, float("nan"), 1), (0, 0, 1)]
)
def test_what_is_no_box(box: Any) -> None:
    with pytest.raises(SelectionError):
        box_coverage(box, 4, 4)
    with pytest.raises(SelectionError, match="area"):
        box_coverage((0, 0, 1e-320, 1e-10), 4, 4)


@pytest.mark.parametrize("cells", [[], [(4, 0)], [(0, -1)]])
def test_what_are_no_cells(cells: Any) -> None:
    with pytest.raises(SelectionError):
        cells_coverage(cells, 4, 4)


def test_value_and_share_by_hand_and_the_order() -> None:
    words = [Word(k, "x", k, k + 1, tokens, 0.0, 0.0) for k, tokens in enumerate([(0,), (), (1, 2), (3,)])]
    values = np.zeros((4, 2, 2), np.float32)
    values[0] = [[1, -3], [2, 1]]
    values[1], values[2] = [[4, 0], [0, 0]], [[2, 0], [6, 0]]
    values[3] = -1
    region = np.array([[1.0, 0.5], [0.0, 0.0]])
    mean = rank_words(MapPack("m", values, signed=True, additive=False), words, region)
    assert [word.index for word in mean] == [2, 0, 3], "no token wrote the word 1"
    assert [word.value for word in mean] == pytest.approx([3 / 1.5, (1 - 1.5) / 1.5, -1])
    assert [word.share for word in mean] == pytest.approx([3 / 6, 1 / 4, 0])
    added = rank_words(MapPack("m", values, signed=True, additive=True), words, region)
    assert added[0].value == pytest.approx(6 / 1.5) and added[0].share == pytest.approx(0.5)
    sinks = np.array([[True, False], [False, False]])
    without = rank_words(
        MapPack("m", values, signed=True, additive=False, sinks=sinks), words, region, without_sinks=True
    )
    assert [(word.index, word.share) for word in without] == [(2, 0.0), (3, 0.0), (0, 0.0)]


def test_the_whole_film_drives_every_word_wholly() -> None:
    explanation = facade()
    found = explanation.region((0, 0, 1, 1))
    assert [word.share for word in found.words] == pytest.approx([1.0] * 3)
    maps = word_maps(explanation.packs["raw"], explanation.report.words)
    assert [word.value for word in found.words] == pytest.approx(sorted(maps.mean(axis=(1, 2)), reverse=True))
    assert found.coverage.dtype == np.float32 and (found.method, found.image) == ("raw", 0)


def test_a_box_of_whole_cells_is_those_cells() -> None:
    explanation = facade()
    box, cells = explanation.region((0.25, 0.5, 0.75, 0.75)), explanation.region(cells=[(2, 1), (2, 2)])
    assert box.words == cells.words
    np.testing.assert_array_equal(box.coverage, cells.coverage)
    for wrong in ({}, {"box": (0, 0, 1, 1), "cells": [(0, 0)]}, {"box": (0, 0, 1, 1), "image": 1}):
        with pytest.raises(SelectionError):
            explanation.region(**wrong)  # type: ignore[arg-type]
    with pytest.raises(MissingEvidenceError):
        explanation.region((0, 0, 1, 1), quantity="disagreement")


def test_the_disagreement_of_a_consensus_is_ranked_too() -> None:
    sample = sample_explanation()
    spread = np.random.default_rng(9).random((8, 4, 4)).astype(np.float32)
    joined = replace(sample.packs["raw"], method="consensus", disagreement=spread)
    explanation = Explanation(**vars(replace(sample, packs={"consensus": joined})))
    found = explanation.region(cells=[(0, 0)], quantity="disagreement")
    # word 2 was written by token 6
    assert next(word.value for word in found.words if word.index == 2) == pytest.approx(float(spread[6, 0, 0]))


def test_over_http(service: Service) -> None:
    report_id = service.report()
    place = f"/reports/{report_id}/region"
    answer = service.client.post(place, json={"box": [0.1, 0.2, 0.6, 0.9]})
    assert answer.status_code == 200, answer.text
    model = RegionModel.model_validate_json(answer.content)
    found = unpack_record(service.store.get(report_id).blob).region((0.1, 0.2, 0.6, 0.9))
    assert (model.id, model.method, model.image) == (report_id, "raw", 0)
    assert [(w.index, w.value, w.share) for w in model.words] == [(w.index, w.value, w.share) for w in found.words]
    np.testing.assert_array_equal(model.coverage, found.coverage)
    packed = service.client.post(
        place, json={"cells": [[0, 0], [3, 3]], "method": "raw"}, headers={"Accept": "application/msgpack"}
    )
    assert RegionModel.model_validate(msgpack.unpackb(packed.content)).coverage.sum() == 2


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"box": [0, 0, 1, 1], "cells": [[0, 0]]},
        {"box": [0.5, 0, 0.5, 1]},
        {"box": [0, 0, 1]},
        {"cells": []},
        {"cells": [[4, 0]]},
        {"box": [0, 0, 1, 1], "image": 1},
        {"box": [0, 0, 1, 1], "image": 2},
        {"box": [0, 0, 1, 1], "method": "crystal-ball"},
        {"box": [0, 0, 1, 1], "quantity": "disagreement"},
        {"box": [0, 0, 1, 1], "colour": "red"},
    ],
)
def test_what_is_no_region_is_told(service: Service, asked: dict[str, Any]) -> None:
    problem(service.client.post(f"/reports/{service.report()}/region", json=asked), 422)
    problem(service.client.post(f"/reports/{'0' * 32}/region", json={"box": [0, 0, 1, 1]}), 404)
