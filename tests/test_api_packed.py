"""Maps packed for a browser: what they weigh, and that nothing of them is lost."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import pytest

from medinterp.api.arrays import decode_array
from medinterp.api.negotiation import JSON, MSGPACK, encode
from medinterp.api.packed import packed_maps
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.api.store import pack_record, unpack_record
from medinterp.relevancy import quantity_of, word_maps
from medinterp.render import report_range
from medinterp.types import MapPack
from medinterp.view.packs import halved
from tests.api_samples import SPANS, sample_explanation
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name


@pytest.mark.parametrize("size", [1.0, 3e-9, 1e-40, 1e12])
def test_values_come_back_within_a_thousandth_of_the_scale(size: float) -> None:
    values = (np.random.default_rng(0).normal(size=(20, 16, 16)) ** 3 * size).astype(np.float32)
    tokens, scale = halved(values)
    assert tokens.dtype == np.float16
    assert np.abs(tokens).max() == 1.0
    assert np.abs(tokens.astype(np.float64) * scale - values).max() <= 1e-3 * scale
    assert halved(np.zeros((2, 3, 3), np.float32))[1] == 1.0
    assert halved(np.zeros((0, 3, 3), np.float32))[1] == 1.0


def test_packed_maps_in_both_encodings(service: Service) -> None:
    report_id = service.report()
    place = f"/reports/{report_id}/maps/packed"
    answer = service.client.get(place)
    assert answer.headers["content-type"] == "application/json"
    packed = PackedMapsModel.model_validate_json(answer.content)
    binary = service.client.get(place, params={"method": "raw"}, headers={"Accept": "application/msgpack"})
    again = PackedMapsModel.model_validate(msgpack.unpackb(binary.content))
    np.testing.assert_array_equal(packed.tokens, again.tokens)
    explanation = unpack_record(service.store.get(report_id).blob)
    pack = explanation.packs["raw"]
    assert (packed.id, packed.method, packed.image, packed.rows, packed.columns) == (report_id, "raw", 0, 4, 4)
    assert (packed.signed, packed.additive, packed.notes) == (False, False, ("last layer",))
    assert (packed.sinks, packed.disagreement, packed.disagreement_scale) == (None, None, None)
    np.testing.assert_allclose(packed.tokens.astype(np.float64) * packed.scale, pack.values, atol=1e-3 * packed.scale)
    assert packed.ranges.relevancy == report_range(word_maps(pack, explanation.report.words), False)
    assert packed.ranges.disagreement is packed.ranges.disagreement_without_sinks is None


def test_a_consensus_has_its_disagreement_and_sinks_have_ranges_of_their_own() -> None:
    explanation = sample_explanation()
    rng = np.random.default_rng(3)
    values, spread = rng.random((2, len(SPANS), 4, 4)).astype(np.float32) * np.float32(1e-9)
    sinks = np.zeros((4, 4), dtype=bool)
    sinks[0, 0] = True
    values[:, 0, 0], spread[:, 0, 0] = 9.0, 7.0
    pack = MapPack(
        "consensus", values, signed=False, additive=False, members=("raw",), disagreement=spread, sinks=sinks
    )
    words = explanation.report.words
    packed = packed_maps("0" * 32, pack, words)
    assert packed.disagreement is not None and packed.disagreement_scale == 7.0
    np.testing.assert_allclose(packed.disagreement.astype(np.float64) * 7, spread, atol=7e-3)
    shown = quantity_of(pack, "disagreement")
    assert packed.ranges.relevancy == report_range(word_maps(pack, words), False)
    assert packed.ranges.relevancy_without_sinks == report_range(word_maps(pack, words, without_sinks=True), False)
    assert packed.ranges.relevancy_without_sinks[1] < 1e-8 < packed.ranges.relevancy[1]
    assert packed.ranges.disagreement == report_range(word_maps(shown, words), False)
    assert packed.ranges.disagreement_without_sinks == report_range(word_maps(shown, words, without_sinks=True), False)
    assert msgpack.unpackb(encode(packed, MSGPACK))["sinks"]["dtype"] == "bool"


def test_signed_maps_have_a_range_on_both_sides() -> None:
    explanation = sample_explanation()
    values = np.random.default_rng(1).normal(size=(len(SPANS), 4, 4)).astype(np.float32)
    packed = packed_maps("0" * 32, MapPack("occlusion", values, signed=True, additive=True), explanation.report.words)
    low, high = packed.ranges.relevancy
    assert low == -high < 0
    assert packed.signed and packed.additive
    assert packed.tokens.min() < 0


def test_the_prior_films_maps_are_asked_for_by_image(service: Service) -> None:
    report_id = service.report()
    problem(service.client.get(f"/reports/{report_id}/maps/packed", params={"image": 1}), 422)
    problem(service.client.get(f"/reports/{report_id}/maps/packed", params={"image": 2}), 422)
    problem(service.client.get(f"/reports/{report_id}/maps/packed", params={"method": "crystal-ball"}), 422)
    problem(service.client.get(f"/reports/{'0' * 32}/maps/packed"), 404)
    problem(service.client.get(f"/reports/{report_id}/maps/packed", params={"size": 3}), 422)
    problem(service.client.get(f"/reports/{report_id}/maps/packed", headers={"Accept": "text/html"}), 406)


def test_a_report_of_phantom_weighs_a_hundred_kilobytes_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    from medinterp import Explainer
    from medinterp.phantom.films import draw_film, sample_film

    film = draw_film(sample_film(10_000_000), 300, 260).uint16()
    explainer = Explainer.from_pretrained("phantom", check=False)
    explanation = explainer.explain(film, methods=("attention_flow", "consensus"))
    kept = unpack_record(pack_record(replace(explanation, trace=None)))
    for name, pack in kept.packs.items():
        packed = packed_maps("0" * 32, pack, kept.report.words)
        binary, text = encode(packed, MSGPACK), encode(packed, JSON)
        tokens = len(pack.values)
        with capsys.disabled():
            print(f"\n{name}: {tokens} tokens, {len(binary)} bytes of msgpack, {len(text)} of JSON")
        fields = 2 if pack.disagreement is not None else 1
        assert len(binary) < 512 * tokens * fields + 2048
        assert len(text) < 4 / 3 * 512 * tokens * fields + 2048
        came = decode_array(msgpack.unpackb(binary)["tokens"]).astype(np.float64) * packed.scale
        assert np.abs(came - pack.values).max() <= 1e-3 * packed.scale
