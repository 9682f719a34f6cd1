"""Maps from traces whose attention is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medinterp.errors import MethodError, MissingEvidenceError, SelectionError, UnknownMethodError
from medinterp.relevancy import METHODS, Method, compute_maps, get_method, select_map
from medinterp.types import AttentionTrace, ImageSpan, MapPack
from tests.traces import make_trace

LAYERS, HEADS, ROWS, COLUMNS = 3, 2, 4, 5


def planted(tokens: int = 4) -> AttentionTrace:
    """Token t, layer l, head h looks at cell t * 6 + l * 2 + h mod cells with weight 0.5."""
    attention = np.zeros((tokens, LAYERS, HEADS, ROWS * COLUMNS), dtype=np.float16)
    for t in range(tokens):
        for layer in range(LAYERS):
            for head in range(HEADS):
                attention[t, layer, head, (t * 6 + layer * 2 + head) % (ROWS * COLUMNS)] = 0.5
    return make_trace(attention, (ImageSpan(3, 3 + ROWS * COLUMNS, ROWS, COLUMNS),))


def test_raw_is_the_head_mean_of_the_last_layer() -> None:
    pack = compute_maps(planted(), ["raw"])["raw"]
    assert pack.values.shape == (4, ROWS, COLUMNS)
    for t in range(4):
        expected = np.zeros(ROWS * COLUMNS)
        expected[(t * 6 + 4) % 20] += 0.25
        expected[(t * 6 + 5) % 20] += 0.25
        np.testing.assert_array_equal(pack.values[t].ravel(), expected)


@pytest.mark.parametrize("layer", [0, 1, 2, -3])
@pytest.mark.parametrize("head", [0, 1, -1])
def test_raw_of_one_layer_and_head_finds_the_planted_cell(layer: int, head: int) -> None:
    pack = get_method("raw").run(planted(), {"layer": layer, "head": head})
    for t in range(4):
        assert pack.values[t].ravel().argmax() == (t * 6 + layer % LAYERS * 2 + head % HEADS) % 20
        assert pack.values[t].sum() == 0.5


def test_raw_of_all_layers_is_their_mean() -> None:
    every = get_method("raw").run(planted(), {"layer": "mean"}).values
    single = [get_method("raw").run(planted(), {"layer": k}).values.astype(np.float64) for k in range(LAYERS)]
    np.testing.assert_allclose(every, np.mean(single, axis=0), atol=1e-3)


@pytest.mark.parametrize(
    "options", [{"layer": 3}, {"layer": -4}, {"head": 2}, {"layer": "last"}, {"head": True}, {"depth": 1}]
)
def test_a_layer_or_head_that_is_not_there_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(MethodError):
        get_method("raw").run(planted(), options)


def test_a_layer_that_cannot_see_the_image_says_so() -> None:
    trace = planted()
    trace.image_attention[2:, -1] = 0
    trace.attention_mass[2:, -1, :, 0] = 0
    pack = compute_maps(trace, ["raw"])["raw"]
    assert pack.values[2:].sum() == 0
    assert pack.notes == ("2 of 4 tokens have an empty map: the image lay outside the sliding window",)


def test_permuted_cells_permute_the_map() -> None:
    trace = planted()
    order = np.random.default_rng(0).permutation(ROWS * COLUMNS)
    before = compute_maps(trace, ["raw"])["raw"].values.reshape(4, -1)
    moved = make_trace(trace.image_attention[..., order], trace.image_spans)
    after = compute_maps(moved, ["raw"])["raw"].values.reshape(4, -1)
    np.testing.assert_array_equal(after, before[:, order])


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownMethodError, match="raw"):
        compute_maps(planted(), ["raw", "grad_cam"])


def test_a_method_without_its_evidence_raises_and_invents_nothing() -> None:
    needy = Method("needy", "propagation", "", "", "", frozenset({"layer_attention"}), get_method("raw").compute)
    with pytest.raises(MissingEvidenceError, match="layer_attention"):
        needy.run(planted())


def test_every_method_says_what_it_is() -> None:
    for name, method in METHODS.items():
        assert name == method.name
        assert method.title
        assert method.citation
        assert method.meaning.endswith(".")
        assert "\n" not in method.meaning


def pack_of(values: Any, *, additive: bool) -> MapPack:
    return MapPack("some", np.asarray(values, dtype=np.float32), signed=additive, additive=additive)


@given(st.sets(st.integers(0, 5), min_size=1), st.booleans())
def test_tokens_join_by_sum_or_mean(tokens: set[int], additive: bool) -> None:
    values = np.random.default_rng(1).integers(-8, 8, (6, 2, 3)).astype(np.float16)
    joined = select_map(pack_of(values, additive=additive), list(tokens))
    chosen = values[sorted(tokens)].astype(np.float64)
    expected = chosen.sum(axis=0) if additive else chosen.mean(axis=0)
    np.testing.assert_allclose(joined.values, expected, rtol=1e-6)
    assert joined.token_indices == tuple(sorted(tokens))
    assert joined.values.dtype == np.float32


@pytest.mark.parametrize("tokens", [(), (6,), (-1,), (0, 99)])
def test_tokens_that_are_not_there_are_refused(tokens: tuple[int, ...]) -> None:
    with pytest.raises(SelectionError):
        select_map(pack_of(np.zeros((6, 2, 3)), additive=False), tokens)
