"""Metrics of maps: values worked out by hand, what must hold of every map, and what other tools give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from medinterp.evaluation.metrics import (
    SHARES,
    auroc,
    best_share,
    cnr,
    covered_mass,
    jensen_shannon_bits,
    mass,
    miou,
    miou_curve,
    miou_otsu,
    otsu_threshold,
    pointing,
    rank_accuracy,
    spearman,
)
from medinterp.imaging.geometry import upsample
from medinterp.types import BoolArray, Float32Array

INNER = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
EDGE = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=bool)

# map, mask, then what Quantus 0.6.0 gives: evaluate_batch of PointingGame, RelevanceMassAccuracy and
# RelevanceRankAccuracy, with abs and normalise off, to eight digits.
QUANTUS: dict[str, tuple[list[list[int]], BoolArray, float, float, float]] = {
    "plain": ([[11, 15, 9, 1], [12, 2, 14, 10], [0, 4, 7, 6], [13, 5, 3, 8]], INNER, 0.0, 0.225, 0.25),
    "on the edge": ([[5, 7, 4, 3], [15, 12, 6, 2], [1, 10, 0, 14], [11, 13, 8, 9]], EDGE, 1.0, 0.25833333, 0.25),
    "steep": ([[0, 16, 36, 100], [144, 196, 49, 4], [225, 81, 9, 1], [121, 169, 64, 25]], INNER, 0.0, 0.27016129, 0.25),
    "three of four": ([[0, 1, 2, 3], [4, 14, 13, 5], [6, 7, 12, 15], [8, 9, 10, 11]], INNER, 0.0, 0.38333333, 0.75),
    "two of four": ([[14, 13, 2, 1], [0, 15, 3, 5], [6, 7, 12, 4], [8, 9, 10, 11]], EDGE, 0.0, 0.24166667, 0.5),
    "tied": ([[0, 1, 2, 3], [4, 15, 5, 6], [7, 8, 9, 15], [10, 11, 12, 13]], INNER, 1.0, 0.30578512, 0.25),
    "signed": ([[-1, 8, -6, 0], [-4, 7, -2, 6], [1, -3, -5, 2], [5, 4, 3, 9]], INNER, 0.0, -0.125, 0.25),
    "constant": ([[3, 3, 3, 3], [3, 3, 3, 3], [3, 3, 3, 3], [3, 3, 3, 3]], INNER, 1.0, 0.25, 0.0),
}
DIFFERENT = {
    # Quantus counts a hit when any of the tied peaks is on the mask: here it is one of two, one cell of four.
    ("tied", "pointing"): 0.5,
    ("constant", "pointing"): 0.25,
    # Quantus divides sums of signed values, and gives a share below 0; the positive part has 7 of 45 on the mask.
    ("signed", "mass"): 7 / 45,
    # Quantus takes the first K cells as argsort leaves equal ones; a cell drawn at random is on the mask 1 time in 4.
    ("constant", "rank_accuracy"): 0.25,
}

sides = st.integers(2, 7)
seeds = st.integers(0, 2**32 - 1)
levels = st.sampled_from([1, 3, 40])
"""How many different values a map has above 0, and as many below: few make ties."""


def drawn_map(seed: int, shape: tuple[int, int], count: int) -> Float32Array:
    """Multiples of 1/8: sums and scaled values are exact, so that equal cells stay equal."""
    return (np.random.default_rng(seed).integers(-count, count + 1, shape) / 8).astype(np.float32)


@st.composite
def maps_with_masks(draw: st.DrawFn) -> tuple[Float32Array, BoolArray]:
    shape, seed = (draw(sides), draw(sides)), draw(seeds)
    mask = np.zeros(shape, dtype=bool)
    mask.ravel()[np.random.default_rng([seed, 1]).permutation(mask.size)[: draw(st.integers(1, mask.size - 1))]] = True
    return drawn_map(seed, shape, draw(levels)), mask


@pytest.mark.parametrize("name", QUANTUS)
def test_agreement_with_quantus_and_where_there_is_none(name: str) -> None:
    numbers, mask, hit, share, ranked = QUANTUS[name]
    values = np.array(numbers, dtype=np.float32)
    for metric, theirs in ((pointing, hit), (mass, share), (rank_accuracy, ranked)):
        expected = DIFFERENT.get((name, metric.__name__), theirs)
        assert metric(values, mask) == pytest.approx(expected, abs=1e-7), metric.__name__


def test_rank_accuracy_averages_over_what_shares_the_last_rank() -> None:
    values = np.array([[5, 4], [4, 4]], dtype=np.float32)
    mask = np.array([[True, True], [False, False]])
    assert rank_accuracy(values, mask) == pytest.approx((1 + 1 / 3) / 2)  # 5 is in, and one of three 4s, one of them on
    with pytest.raises(ValueError, match="empty"):
        rank_accuracy(values, np.zeros((2, 2), dtype=bool))


def test_covered_mass_counts_the_covered_share_of_what_is_positive() -> None:
    coverage = np.array([[1.0, 0.5], [0.0, 0.0]], dtype=np.float32)
    assert covered_mass(np.array([[1.0, 1.0], [2.0, -5.0]], dtype=np.float32), coverage) == pytest.approx(1.5 / 4)
    assert covered_mass(np.zeros((2, 2), dtype=np.float32), coverage) == pytest.approx(1.5 / 4)
    assert covered_mass(np.full((2, 2), -1, dtype=np.float32), coverage) == pytest.approx(1.5 / 4)


@given(maps_with_masks(), st.sampled_from([0.25, 2.0, 2.0**-40]))
def test_what_holds_of_every_map_and_mask(drawn: tuple[Float32Array, BoolArray], scale: float) -> None:
    values, mask = drawn
    for metric in (pointing, mass):
        assert metric(values, mask) + metric(values, ~mask) == pytest.approx(1.0)
    for metric in (pointing, mass, rank_accuracy, miou_otsu):
        score = metric(values, mask)
        assert 0.0 <= score <= 1.0
        assert metric(values * np.float32(scale), mask) == pytest.approx(score)
        assert metric(values[::-1, ::-1], mask[::-1, ::-1]) == pytest.approx(score)
    assert rank_accuracy(mask.astype(np.float32), mask) == mass(mask.astype(np.float32), mask) == 1.0


@given(maps_with_masks(), st.sampled_from([-3.0, 0.0, 0.5]))
def test_a_map_that_says_nothing_scores_as_a_cell_drawn_at_random(
    drawn: tuple[Float32Array, BoolArray], value: float
) -> None:
    mask = drawn[1]
    constant = np.full(mask.shape, value, dtype=np.float32)
    for metric in (pointing, mass, rank_accuracy, miou_otsu):
        assert metric(constant, mask) == pytest.approx(mask.mean()), metric.__name__
    assert cnr(constant, mask) == 0.0
    assert miou_curve(constant, mask) == pytest.approx(mask.mean())


def test_otsu_parts_two_heaps() -> None:
    values = np.array([[0.0, 0.1, 0.2, 5.0], [0.1, 5.2, 5.1, 0.0]], dtype=np.float32)
    assert otsu_threshold(values) == pytest.approx(5.0)
    mask = values > 4
    mask[0, 0] = True
    assert miou_otsu(values, mask) == pytest.approx(3 / 4)
    # What speaks against the word is as far from a finding as what says nothing.
    assert otsu_threshold(np.where(values > 4, values, values - 100)) == pytest.approx(5.0)
    # The levels lie between the map's own ends, wherever those are.
    assert otsu_threshold(values + 2000) == pytest.approx(2005.0, abs=0.01)
    assert otsu_threshold(np.full((2, 2), -1.0, dtype=np.float32)) == 0.0
    assert otsu_threshold(np.array([[0.0, 1e-38]], dtype=np.float32)) == pytest.approx(1e-38)


@given(seeds, st.integers(2, 30))
def test_otsu_leaves_the_least_variance_within_the_parts(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, count).astype(np.float32)
    values[0], values[1] = 0, 255  # the 256 levels are then the values themselves

    def within(threshold: float) -> float:
        parts = (values[values >= threshold], values[values < threshold])
        return sum(float(part.var(dtype=np.float64)) * part.size for part in parts if part.size)

    least = min(within(threshold) for threshold in np.unique(values)[1:])
    assert within(otsu_threshold(values)) == pytest.approx(least, rel=1e-5, abs=1e-3)


def test_miou_by_hand() -> None:
    values = np.array([[1.0, 0.8, 0.3, -2.0]], dtype=np.float32)
    mask = np.array([[True, True, True, False]])
    assert miou(values, mask, 0.8) == pytest.approx(2 / 3)
    assert miou(values, mask, 0.1) == 1.0
    assert miou(values, ~mask, 0.1) == 0.0
    assert miou(values, ~mask, 0.0) == pytest.approx(1 / 4)
    assert miou(-values, np.zeros((1, 4), dtype=bool), 9.0) == 0.0
    curve = miou_curve(values, mask)
    assert curve.tolist() == pytest.approx([1.0] * 3 + [2 / 3] * 5 + [1 / 3])
    assert miou_curve(values * 7, mask).tolist() == curve.tolist()


def test_the_threshold_is_tuned_on_the_mean_of_all_maps() -> None:
    mask = np.array([[True, True, False, False]])
    wants_high = np.array([[1.0, 0.9, 0.55, 0.0]], dtype=np.float32)  # best at 0.6 to 0.9
    wants_low = np.array([[10.0, 6.5, 0.0, 0.0]], dtype=np.float32)  # best at 0.1 to 0.6
    high, low = miou_curve(wants_high, mask), miou_curve(wants_low, mask)
    assert best_share([high]) == 0.6
    assert best_share([low]) == 0.1
    assert best_share([high, low]) == 0.6
    assert best_share([miou_curve(wants_high, mask, [0.2, 0.95])], [0.2, 0.95]) == 0.2
    with pytest.raises(ValueError, match="no map"):
        best_share([])
    assert set(SHARES) >= {0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}


def test_cnr_by_hand() -> None:
    values = np.array([[1.0, 3.0, 6.0, 10.0]], dtype=np.float32)
    mask = np.array([[False, False, True, True]])
    assert cnr(values, mask) == pytest.approx((8 - 2) / math.sqrt(4 + 1))
    assert cnr(values, ~mask) == cnr(-values, mask) == cnr(values, mask)  # it does not know which side is which
    assert cnr(values, np.zeros((1, 4), dtype=bool)) is None
    assert cnr(values, np.ones((1, 4), dtype=bool)) is None
    assert cnr(mask.astype(np.float32), mask) == math.inf


@given(maps_with_masks())
def test_auroc_is_the_share_of_pairs_in_order(drawn: tuple[Float32Array, BoolArray]) -> None:
    scores, labels = (array.ravel() for array in drawn)
    high, low = scores[labels][:, None], scores[~labels][None]
    area = auroc(scores, labels)
    assert area == pytest.approx(((high > low) + 0.5 * (high == low)).mean(), abs=1e-6)
    assert auroc(-scores, labels) == pytest.approx(1.0 - (area or 0.0), abs=1e-6)


def test_auroc_of_one_class_is_not_defined() -> None:
    assert auroc([0.1, 0.9], [True, True]) is None
    assert auroc([], []) is None
    with pytest.raises(ValueError, match="2 scores and 1 labels"):
        auroc([0.1, 0.9], [True])


@given(maps_with_masks(), seeds, levels)
def test_spearman_is_scipys(drawn: tuple[Float32Array, BoolArray], seed: int, count: int) -> None:
    a, b = drawn[0], drawn_map(seed, drawn[0].shape, count)
    assume(np.ptp(a) > 0 and np.ptp(b) > 0)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a.ravel(), b.ravel()).statistic, abs=1e-5)
    assert spearman(a, a * 2 + 1) == pytest.approx(1.0)
    assert spearman(a, -a) == pytest.approx(-1.0)


def test_spearman_of_a_constant_map_is_not_defined() -> None:
    ordered = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert spearman(ordered, np.ones_like(ordered)) is None
    assert spearman(np.zeros_like(ordered), ordered) is None


def test_jensen_shannon_by_hand() -> None:
    one, other = np.eye(2, dtype=np.float32), 1 - np.eye(2, dtype=np.float32)
    assert jensen_shannon_bits(one, other) == pytest.approx(1.0)
    assert jensen_shannon_bits(one, 3 * one - 5 * other) == pytest.approx(0.0)  # the positive parts are the same
    # A map that is nowhere positive is uniform: (1/2, 1/2, 0, 0) against 1/4 everywhere.
    half = 0.5 * math.log2(0.5 / 0.375)
    quarter = 0.25 * math.log2(0.25 / 0.375) + 0.25 * math.log2(0.25 / 0.125)
    assert jensen_shannon_bits(one, -other) == pytest.approx(half + quarter)
    with pytest.raises(ValueError, match="shapes"):
        jensen_shannon_bits(one, np.ones(4, dtype=np.float32))


@given(maps_with_masks(), seeds, levels)
def test_jensen_shannon_is_a_symmetric_distance(
    drawn: tuple[Float32Array, BoolArray], seed: int, count: int
) -> None:
    p, q = drawn[0], drawn_map(seed, drawn[0].shape, count)
    distance = jensen_shannon_bits(p, q)
    assert 0.0 <= distance <= 1.0 + 1e-12
    assert jensen_shannon_bits(q, p) == pytest.approx(distance, abs=1e-12)
    assert jensen_shannon_bits(p, p) == 0.0
    assert jensen_shannon_bits(p * 4, q / 2) == pytest.approx(distance, abs=1e-9)


@pytest.mark.parametrize(("height", "width"), [(320, 160), (160, 336)])
def test_scores_of_a_map_laid_over_a_tall_or_wide_film(height: int, width: int) -> None:
    """A one-hot cell points at its own place in the film, and nowhere else."""
    grid = np.zeros((16, 16), dtype=np.float32)
    grid[3, 12] = 1
    values = upsample(grid, height, width)
    mask = np.zeros((height, width), dtype=bool)
    mask[3 * height // 16 : 4 * height // 16, 12 * width // 16 : 13 * width // 16] = True
    assert pointing(values, mask) == 1.0
    assert pointing(values, mask[::-1, ::-1]) == 0.0
    # A bilinear hill is two cells wide: its middle half holds 3/4 of it on each axis.
    assert mass(values, mask) == pytest.approx(9 / 16, abs=0.01)
