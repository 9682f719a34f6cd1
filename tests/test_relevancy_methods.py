"""Each method against an independent reference: brute force in float64, numbers by hand, SciPy, planted attention."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from medinterp.errors import MethodError, MissingEvidenceError
from medinterp.relevancy import (
    ATTENTION_METHODS,
    TRACE_METHODS,
    add_measured,
    compute_maps,
    get_method,
    quantity_of,
    select_map,
)
from medinterp.relevancy.methods.head_importance import best_heads, elbow, spatial_entropies
from medinterp.relevancy.ranks import cell_ranks
from medinterp.relevancy.sinks import find_sinks
from medinterp.types import AttentionTrace, ImageSpan, MapPack, MeasuredCells, float32_of
from tests.traces import make_trace

ROWS, COLUMNS = 3, 4
CELLS = ROWS * COLUMNS
PROMPT, TOKENS, LAYERS, HEADS = 18, 5, 3, 2
SPAN = ImageSpan(4, 4 + CELLS, ROWS, COLUMNS)


def whole_trace(seed: int = 0) -> tuple[AttentionTrace, np.ndarray]:
    """A trace cut out of random causal attention (image block bidirectional), and that attention [L, H, N, N]."""
    rng = np.random.default_rng(seed)
    length = PROMPT + TOKENS
    allowed = np.tril(np.ones((length, length), dtype=bool))
    allowed[SPAN.start : SPAN.stop, SPAN.start : SPAN.stop] = True
    scores = np.where(allowed, rng.normal(0, 2, (LAYERS, HEADS, length, length)), -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    queries = PROMPT - 1 + np.arange(TOKENS)
    rows = weights[:, :, queries, SPAN.start : SPAN.stop].transpose(2, 0, 1, 3)
    trace = dataclasses.replace(
        make_trace(rows.astype(np.float16), (SPAN,), prompt_length=PROMPT),
        layer_attention=weights.mean(axis=1).astype(np.float16),
        value_norm=rng.random((LAYERS, HEADS, length), dtype=np.float32) + 0.1,
    )
    return trace, weights


@pytest.mark.parametrize("seed", range(4))
def test_attention_flow_is_the_product_of_whole_matrices(seed: int) -> None:
    trace, weights = whole_trace(seed)
    length = PROMPT + TOKENS
    product = np.eye(length)
    for layer in range(LAYERS):
        product = (0.5 * weights[layer].mean(axis=0) + 0.5 * np.eye(length)) @ product
    expected = product[PROMPT - 1 : PROMPT - 1 + TOKENS, SPAN.start : SPAN.stop]
    found = compute_maps(trace, ["attention_flow"])["attention_flow"].values.reshape(TOKENS, CELLS)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_attention_flow_by_hand() -> None:
    """Two layers, one cell: token 0 (row 2) looks at the image in layer 1 by 0.5, at row 1 by 0.25.

    Row 1 looks at the image in layer 0 by 0.8. The walk: image 0.5 * (0.5 * (1 + 1)) from layer 1 (the image
    row stays at itself), 0.5 * 0.25 through row 1 and its 0.5 * 0.8, and 0.5 from staying, then 0.5 * 0.4.
    """
    first = np.array([[1.0, 0, 0, 0], [0.8, 0.2, 0, 0], [0.4, 0, 0.6, 0], [0, 0, 0, 1]])
    second = np.array([[1.0, 0, 0, 0], [0.1, 0.9, 0, 0], [0.5, 0.25, 0.25, 0], [0, 0, 0, 1]])
    trace = dataclasses.replace(
        make_trace(np.zeros((1, 2, 2, 1), dtype=np.float16), (ImageSpan(0, 1, 1, 1),), prompt_length=3),
        layer_attention=np.stack([first, second]).astype(np.float16),
    )
    stays = 0.5 + 0.5 * 0.25
    expected = 0.5 * 0.5 * 1.0 + 0.5 * 0.25 * 0.5 * 0.8 + stays * 0.5 * 0.4
    found = compute_maps(trace, ["attention_flow"])["attention_flow"].values
    assert found.shape == (1, 1, 1)
    assert float(found[0, 0, 0]) == pytest.approx(expected, abs=1e-3)


def test_value_weighted_is_the_sum_over_heads_by_brute_force() -> None:
    trace, weights = whole_trace()
    norms = trace.value_norm
    assert norms is not None
    expected = np.zeros((TOKENS, CELLS))
    for t in range(TOKENS):
        for layer in range(LAYERS):
            for head in range(HEADS):
                for cell in range(CELLS):
                    weight = weights[layer, head, PROMPT - 1 + t, SPAN.start + cell]
                    expected[t, cell] += weight * norms[layer, head, SPAN.start + cell]
    found = compute_maps(trace, ["value_weighted"])["value_weighted"].values.reshape(TOKENS, CELLS)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_a_sink_with_a_small_value_loses_its_weight() -> None:
    attention = np.full((2, LAYERS, HEADS, CELLS), 0.02, dtype=np.float16)
    attention[..., 0] = 0.6
    norms = np.ones((LAYERS, HEADS, PROMPT + 2), dtype=np.float32)
    norms[..., SPAN.start] = 0.01
    trace = dataclasses.replace(make_trace(attention, (SPAN,), prompt_length=PROMPT), value_norm=norms)
    packs = compute_maps(trace, ["layer_weighted", "value_weighted"])
    assert packs["layer_weighted"].values[0].ravel().argmax() == 0
    assert packs["value_weighted"].values[0].ravel().argmin() == 0


def test_layer_weights_count_and_without_them_it_says_so() -> None:
    trace, weights = whole_trace()
    rows = weights[:, :, PROMPT - 1 : PROMPT - 1 + TOKENS, SPAN.start : SPAN.stop].mean(axis=1)
    uniform = get_method("layer_weighted").run(trace)
    assert "uncalibrated" in uniform.notes[0]
    np.testing.assert_allclose(uniform.values.reshape(TOKENS, CELLS), rows.mean(axis=0), atol=1e-3)
    learned = np.array([0.7, 0.0, 0.3], dtype=np.float32)
    pack = get_method("layer_weighted").run(dataclasses.replace(trace, layer_weights=learned))
    assert pack.notes == ()
    np.testing.assert_allclose(
        pack.values.reshape(TOKENS, CELLS), 0.7 * rows[0] + 0.3 * rows[2], atol=1e-3
    )


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_spatial_entropy_is_that_of_scipys_regions(seed: int) -> None:
    grids = np.random.default_rng(seed).gamma(0.5, size=(5, 9, 7)).astype(np.float32)
    grids[2] = 0.25
    found = spatial_entropies(grids)
    for k, grid in enumerate(grids):
        if k == 2:
            assert np.isnan(found[k])  # it prefers no cell
            continue
        labels, regions = scipy.ndimage.label(grid > grid.mean(), structure=np.ones((3, 3)))
        weight = scipy.ndimage.sum_labels(grid.astype(np.float64), labels, np.arange(1, regions + 1))
        assert found[k] == pytest.approx(scipy.stats.entropy(weight / weight.sum()), abs=1e-5)


def test_a_table_casts_halves_exactly() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    np.testing.assert_array_equal(float32_of(finite[::3]), finite[::3].astype(np.float32))


def test_the_elbow_is_where_the_sorted_masses_bend() -> None:
    assert elbow(np.array([0.9, 0.01, 0.02, 0.03, 0.8, 0.04])) == pytest.approx(0.04)
    assert elbow(np.array([0.3, 0.3, 0.3])) == pytest.approx(0.3)


def test_head_importance_takes_the_head_that_looks_at_one_place() -> None:
    """Head (1, 0) looks at one cell, (2, 1) as much at scattered cells, the others elsewhere than at the film."""
    attention = np.full((3, LAYERS, HEADS, CELLS), 0.001, dtype=np.float16)
    attention[:, 1, 0, 7] = 0.6
    attention[:, 2, 1, [0, 3, 8, 11]] = 0.15
    trace = make_trace(attention, (SPAN,), prompt_length=PROMPT)
    assert best_heads(trace)[0] == (1, 0)
    pack = get_method("head_importance").run(trace, {"heads": 1})
    assert pack.notes == ("heads: layer 1 head 0",)
    np.testing.assert_array_equal(pack.values.reshape(3, CELLS), attention[:, 1, 0])


@pytest.mark.parametrize("options", [{"heads": 0}, {"heads": True}, {"source": "gradients"}, {"k": 1}])
def test_head_importance_refuses_other_options(options: dict[str, object]) -> None:
    with pytest.raises(MethodError):
        get_method("head_importance").run(whole_trace()[0], options)


def test_a_sink_is_what_every_token_looks_at() -> None:
    """Cell 3 draws every row, cell 7 only one token in five (however much): the first is a sink, the second is not."""
    attention = np.full((10, LAYERS, HEADS, 64), 0.001, dtype=np.float16)
    attention[..., 3] = 0.3
    attention[:2, ..., 7] = 0.5
    trace = make_trace(attention, (ImageSpan(4, 68, 8, 8),), prompt_length=80)
    assert np.flatnonzero(find_sinks(trace)).tolist() == [3]
    pack = compute_maps(trace, ["raw"])["raw"]
    assert pack.sinks is not None
    assert np.argwhere(pack.sinks).tolist() == [[0, 3]]
    assert "(1, 4)" in pack.notes[-1]
    kept, without = select_map(pack, [0]), select_map(pack, [0], without_sinks=True)
    assert kept.values[0, 3] == pytest.approx(0.3, abs=1e-3)  # never cut away silently
    assert without.values[0, 3] == 0
    assert without.values[0, 7] == kept.values[0, 7]
    assert without.notes[-1] == "sink cells left out"


def test_even_attention_has_no_sinks() -> None:
    attention = np.full((10, LAYERS, HEADS, 64), 0.01, dtype=np.float16)
    pack = compute_maps(make_trace(attention, (ImageSpan(4, 68, 8, 8),), prompt_length=80), ["raw"])["raw"]
    assert pack.sinks is not None
    assert not pack.sinks.any()
    assert pack.notes == ()


def test_each_image_has_maps_of_its_own_that_name_it() -> None:
    attention = np.random.default_rng(0).random((3, LAYERS, HEADS, 2 * CELLS)).astype(np.float16) / 50
    spans = (SPAN, ImageSpan(SPAN.stop + 2, SPAN.stop + 2 + CELLS, ROWS, COLUMNS))
    trace = make_trace(attention, spans, prompt_length=40)
    for image in (0, 1):
        pack = compute_maps(trace, ["raw", "layer_weighted"], image=image)["raw"]
        assert pack.image == select_map(pack, [1]).image == image
        expected = attention[:, -1, :, image * CELLS : (image + 1) * CELLS].mean(axis=1, dtype=np.float32)
        np.testing.assert_allclose(pack.values.reshape(3, CELLS), expected, atol=1e-3)
    with pytest.raises(MethodError, match="no image 2"):
        compute_maps(trace, ["raw"], image=2)


def some_pack(values: np.ndarray, name: str = "raw") -> MapPack:
    return MapPack(name, values.astype(np.float32), signed=False, additive=False)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=60)
def test_ranks_are_those_of_scipy(seed: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 4, (5, 12)).astype(np.float16) if tied else rng.random((5, 12)).astype(np.float16)
    expected = (scipy.stats.rankdata(maps, axis=1) - 1) / 11
    np.testing.assert_allclose(cell_ranks(maps), expected, atol=1e-6)


def test_a_constant_map_ranks_nothing() -> None:
    np.testing.assert_array_equal(cell_ranks(np.full((2, 9), 0.3)), np.full((2, 9), 0.5, dtype=np.float32))


def test_consensus_is_the_mean_rank_of_one_method_of_each_family() -> None:
    trace, _ = whole_trace(2)
    packs = compute_maps(trace, ["raw", "consensus", "value_weighted"])
    assert list(packs) == ["raw", "consensus", "value_weighted"]
    pack = packs["consensus"]
    assert pack.members == ("attention_flow", "value_weighted")
    members = [m.values.reshape(TOKENS, CELLS) for m in compute_maps(trace, pack.members).values()]
    ranks = [(scipy.stats.rankdata(maps, axis=1) - 1) / (CELLS - 1) for maps in members]
    np.testing.assert_allclose(pack.values.reshape(TOKENS, CELLS), np.mean(ranks, axis=0), atol=1e-3)
    assert pack.disagreement is not None
    np.testing.assert_allclose(pack.disagreement.reshape(TOKENS, CELLS), np.std(ranks, axis=0), atol=1e-3)
    assert ", ".join(pack.members) in pack.notes[0]
    apart = quantity_of(pack, "disagreement")
    np.testing.assert_array_equal(apart.values, pack.disagreement)
    assert (apart.members, apart.signed) == (pack.members, False)
    assert quantity_of(pack, "relevancy") is pack
    with pytest.raises(MissingEvidenceError, match="raw joins no other"):
        quantity_of(packs["raw"], "disagreement")
    alone = compute_maps(trace, ["consensus"])["consensus"]
    assert alone.members == ("attention_flow", "layer_weighted")
    assert any(note.startswith("layer_weighted: uncalibrated") for note in alone.notes)


def test_consensus_joins_what_was_asked_for() -> None:
    trace, _ = whole_trace(2)
    assert compute_maps(trace, ["head_importance", "consensus"])["consensus"].members == (
        "attention_flow",
        "head_importance",
    )


@pytest.mark.parametrize("options", [{"raw": {"layer": 0}}, {"consensus": {"k": 1}}])
def test_options_for_what_is_not_asked_are_refused(options: dict[str, dict[str, int]]) -> None:
    with pytest.raises(MethodError, match="options were given"):
        compute_maps(whole_trace()[0], ["layer_weighted", "consensus"], options)


def test_a_report_of_no_tokens_has_no_maps() -> None:
    trace, _ = whole_trace()
    empty = dataclasses.replace(
        trace,
        image_attention=trace.image_attention[:0],
        attention_mass=trace.attention_mass[:0],
        token_logprob=trace.token_logprob[:0],
        unembedding=trace.unembedding[:0],
    )
    for name, pack in compute_maps(empty, TRACE_METHODS).items():
        assert pack.values.shape == (0, ROWS, COLUMNS), name


def test_a_deep_rollout_keeps_its_small_numbers() -> None:
    """34 layers, most of each row on the first token: 1e-9 a cell, which float16 does not hold."""
    length = PROMPT + TOKENS
    matrix = np.tril(np.ones((length, length)))
    matrix[SPAN.start : SPAN.stop, SPAN.start : SPAN.stop] = 1
    matrix = 0.3 * matrix / matrix.sum(axis=1, keepdims=True)
    matrix[:, 0] += 0.7
    trace = dataclasses.replace(whole_trace()[0], layer_attention=np.tile(matrix, (34, 1, 1)).astype(np.float16))
    pack = compute_maps(trace, ["attention_flow"])["attention_flow"]
    assert 0 < pack.values.max() < 1e-4
    assert (pack.values > 0).all()
    assert pack.notes == ()


def test_a_head_that_is_blind_half_of_the_time_is_not_focused_for_it() -> None:
    """Head (0, 1) looks at two places in every second row and at nothing in the others; (2, 0) mostly at one."""
    attention = np.full((6, LAYERS, HEADS, CELLS), 0.001, dtype=np.float16)
    attention[:, 0, 1] = 0
    attention[::2, 0, 1, [0, 11]] = 0.45
    attention[:, 2, 0, 5] = 0.4
    attention[:, 2, 0, 3] = 0.1
    trace = make_trace(attention, (SPAN,), prompt_length=PROMPT)
    assert best_heads(trace)[0] == (2, 0)


def test_readings_of_the_same_rows_are_no_consensus() -> None:
    trace = dataclasses.replace(whole_trace()[0], layer_attention=None)
    with pytest.raises(MissingEvidenceError, match="two families"):
        compute_maps(trace, ["raw", "layer_weighted", "consensus"])


def test_a_combination_is_not_run_alone() -> None:
    with pytest.raises(MethodError, match="compute_maps"):
        get_method("consensus").run(whole_trace()[0])


@pytest.mark.parametrize(("name", "lacks"), [("attention_flow", "layer_attention"), ("value_weighted", "value_norm")])
def test_without_its_evidence_a_method_raises(name: str, lacks: str) -> None:
    trace = dataclasses.replace(whole_trace()[0], **{lacks: None})
    with pytest.raises(MissingEvidenceError, match=lacks):
        get_method(name).run(trace)


@pytest.mark.parametrize("name", ATTENTION_METHODS)
def test_planted_attention_is_found(name: str) -> None:
    """Every layer's head 0 looks at one cell for each token; the others look at all cells alike."""
    attention = np.full((TOKENS, LAYERS, HEADS, CELLS), 0.2 / CELLS, dtype=np.float16)
    planted = [(5 * t + 2) % CELLS for t in range(TOKENS)]
    attention[np.arange(TOKENS), :, 0, planted] = 0.7
    length = PROMPT + TOKENS
    matrices = np.tile(np.eye(length), (LAYERS, 1, 1))
    for t, cell in enumerate(planted):
        row = matrices[:, PROMPT - 1 + t]
        row[:] = 0
        row[:, SPAN.start : SPAN.stop] = attention[t].mean(axis=1)
        row[:, 0] = 1 - row.sum(axis=-1)
        assert row[0, SPAN.start : SPAN.stop].argmax() == cell
    trace = dataclasses.replace(
        make_trace(attention, (SPAN,), prompt_length=PROMPT),
        layer_attention=matrices.astype(np.float16),
        value_norm=np.ones((LAYERS, HEADS, length), dtype=np.float32),
    )
    values = compute_maps(trace, [name])[name].values.reshape(TOKENS, CELLS)
    assert values.argmax(axis=1).tolist() == planted


@pytest.mark.parametrize("name", ATTENTION_METHODS)
def test_permuted_layers_or_cells_permute_the_maps(name: str) -> None:
    """Cells in another order give the same maps in that order, but for methods that ask which cells touch."""
    if name == "head_importance":
        pytest.skip("spatial entropy asks which cells touch")
    trace, _ = whole_trace(7)
    order = np.random.default_rng(3).permutation(CELLS)
    places = np.arange(PROMPT + TOKENS)
    places[SPAN.start : SPAN.stop] = SPAN.start + order
    assert trace.layer_attention is not None
    assert trace.value_norm is not None
    moved = dataclasses.replace(
        trace,
        image_attention=trace.image_attention[..., order],
        layer_attention=trace.layer_attention[:, places][:, :, places],
        value_norm=trace.value_norm[..., places],
    )
    before = compute_maps(trace, [name])[name].values.reshape(TOKENS, CELLS)
    after = compute_maps(moved, [name])[name].values.reshape(TOKENS, CELLS)
    np.testing.assert_allclose(after, before[:, order], rtol=1e-2, atol=1e-4)


def test_what_was_measured_takes_its_place_and_joins_the_consensus() -> None:
    trace, _ = whole_trace(3)
    values = np.random.default_rng(1).normal(size=(TOKENS, CELLS)).astype(np.float32)
    measured = {"occlusion": MeasuredCells(values, (SPAN,), ("a note",), {"block": 2})}
    packs = compute_maps(trace, ["raw", "occlusion", "consensus"], measured=measured)
    assert list(packs) == ["raw", "occlusion", "consensus"]
    np.testing.assert_array_equal(packs["occlusion"].values.reshape(TOKENS, CELLS), values)
    assert packs["occlusion"].signed
    assert packs["occlusion"].additive
    assert "a note" in packs["occlusion"].notes
    assert packs["occlusion"].options == {"block": 2}
    assert packs["consensus"].members == ("attention_flow", "occlusion", "raw")
    with pytest.raises(MissingEvidenceError, match="runs on the model"):
        compute_maps(trace, ["occlusion"])
    later = add_measured({"raw": packs["raw"]}, "occlusion", measured["occlusion"])
    assert later.options == {"block": 2}
    assert later.sinks is packs["raw"].sinks


def test_the_activation_map_takes_away_what_every_word_lights_up() -> None:
    """Cell 0 resembles every word, cell t + 1 the word of token t alone; a repeated token keeps its map."""
    state = np.eye(CELLS, 6, dtype=np.float32)
    state[0] = 0.2
    words = np.array([0, 1, 2, 1, 3])
    trace = dataclasses.replace(
        whole_trace()[0], image_state=state, unembedding=np.eye(6, dtype=np.float32)[words + 1]
    )
    pack = get_method("activation_map").run(trace)
    maps = pack.values.reshape(TOKENS, CELLS)
    assert maps.argmax(axis=1).tolist() == [1, 2, 3, 2, 4]
    assert maps[2, 0] < maps[0, 0]
    np.testing.assert_allclose(maps[3, 2], 1.0, atol=0.1)
    assert (maps >= 0).all()
    assert "not causal" in pack.notes[0]
