"""How well a map lies on a mask, how well scores tell two classes apart, and how far two maps are from each other.

Every function takes arrays of any one shape: cells [rows, columns], or a film's pixels [height, width] once the
map is laid over the film (`medinterp.imaging.geometry.upsample`). values: float, the method's own sign; mask,
on_finding: bool, True on the finding. Only the positive part of a map says where a finding is: a cell that speaks
against the word counts as 0. A map that is constant, or nowhere positive, says nothing and scores as a constant
map does. Scores that are not defined for their input are None, never a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from medinterp.relevancy.ranks import cell_ranks
from medinterp.types import BoolArray, Float32Array

Values = npt.NDArray[np.floating[Any]]

SHARES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The thresholds that are tried in tuning, as shares of a map's own maximum (CheXlocalize tries 0.2 to 0.8)."""
_LEVELS = 255


def pointing(values: Values, on_finding: BoolArray) -> float:
    """The chance (0..1) that the peak lies on the finding, ties broken at random (Zhang et al., IJCV 2018).

    A constant map scores as a cell drawn at random would.
    """
    return float(on_finding[values == values.max()].mean())


def mass(values: Values, on_finding: BoolArray) -> float:
    """The share (0..1) of the map's positive part on the finding: relevance mass accuracy.

    Arras et al., Information Fusion 2022, section 3.2, of the positive part: a sum over signed values is no share,
    it can be negative or above 1. A map that is nowhere positive scores as a constant one would.
    """
    return covered_mass(values, on_finding)


def covered_mass(values: Values, coverage: npt.NDArray[Any]) -> float:
    """As `mass`, with each cell counted by its covered share (0..1): coverage float, of the map's shape."""
    positive = _positive(values)
    total = float(positive.sum(dtype=np.float64))
    if not total > 0.0:
        return float(coverage.mean(dtype=np.float64))
    return float((positive * coverage).sum(dtype=np.float64)) / total


def rank_accuracy(values: Values, on_finding: BoolArray) -> float:
    """The share (0..1) of the finding's K cells that are among the map's K highest: relevance rank accuracy.

    Arras et al., Information Fusion 2022, section 3.2; where the K-th value is shared by several cells, the mean
    over the ways to choose among them. Raises ValueError for a mask without a cell.
    """
    count = int(on_finding.sum())
    if not count:
        raise ValueError("the mask is empty: there is no rank accuracy")
    last = np.partition(values, values.size - count, axis=None)[values.size - count]
    above, level = values > last, values == last
    chosen = int(above.sum())
    hits = float(on_finding[above].sum()) + (count - chosen) * float(on_finding[level].mean())
    return hits / count


def otsu_threshold(values: Values) -> float:
    """The value from which a map's positive part counts as marked, by Otsu's rule (IEEE Trans. SMC 1979).

    On 256 levels between the lowest and the highest value, as in CheXlocalize. A constant map's own value: all of it
    is marked.
    """
    positive = _positive(values)
    low, high = float(positive.min()), float(positive.max())
    if not high > low:
        return low
    levels = ((positive - np.float32(low)) / np.float32(high - low) * np.float32(_LEVELS)).astype(np.uint8)
    level, _ = cv2.threshold(levels.reshape(1, -1), 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    above = positive[levels > int(level)]
    return float(above.min())


def miou(values: Values, mask: BoolArray, threshold: float) -> float:
    """Intersection over union (0..1) of a mask and what one map marks, its positive part at or above a threshold.

    The mean of it over images is the mIoU of CheXlocalize (Saporta et al., Nature Machine Intelligence 2022). A
    map that is nowhere positive marks nothing, unless the threshold is 0 or less: then it marks everything.
    """
    return _iou(_positive(values) >= threshold, mask)


def miou_otsu(values: Values, mask: BoolArray) -> float:
    """`miou` at the map's own Otsu threshold."""
    return miou(values, mask, otsu_threshold(values))


def miou_curve(values: Values, mask: BoolArray, shares: Sequence[float] = SHARES) -> npt.NDArray[np.float64]:
    """`miou` at each share of the map's own maximum, float64 [shares]."""
    positive = _positive(values)
    top = float(positive.max())
    return np.array([_iou(positive >= share * top, mask) for share in shares])


def best_share(curves: Sequence[npt.NDArray[np.float64]], shares: Sequence[float] = SHARES) -> float:
    """The share of a map's own maximum at which the mean of several `miou_curve`s is highest, the lowest of equal ones.

    To be chosen on validation films and used on others, as in CheXlocalize (Saporta et al. 2022). Raises ValueError
    where there is none.
    """
    if not curves:
        raise ValueError("there is no map to tune a threshold on")
    return float(shares[int(np.mean(curves, axis=0).argmax())])


def cnr(values: Values, mask: BoolArray) -> float | None:
    """Contrast-to-noise ratio |mean_in - mean_out| / sqrt(var_in + var_out) of a map inside and outside a mask.

    Boecking et al. (ECCV 2022, MS-CXR and BioViL). It needs no threshold and takes the signed map as it is. It does
    not tell a map that is high on the finding from one that is low there. 0 for a constant map, infinite for two
    flat sides of different value, None for a mask that covers nothing or everything.
    """
    if mask.all() or not mask.any():
        return None
    inside, outside = values[mask], values[~mask]
    difference = abs(float(inside.mean(dtype=np.float64)) - float(outside.mean(dtype=np.float64)))
    noise = float(np.sqrt(inside.var(dtype=np.float64) + outside.var(dtype=np.float64)))
    if noise > 0.0:
        return difference / noise
    return float("inf") if difference > 0.0 else 0.0


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float | None:
    """The chance that a positive scores higher than a negative, equal scores counting one half (Mann-Whitney).

    scores: float, labels: bool, of one shape. None unless there is one of each at least.
    """
    flat, positive = np.asarray(scores, dtype=np.float64).ravel(), np.asarray(labels, dtype=bool).ravel()
    if flat.shape != positive.shape:
        raise ValueError(f"there are {flat.size} scores and {positive.size} labels")
    ones = int(positive.sum())
    zeros = positive.size - ones
    if not ones or not zeros:
        return None
    ranks = cell_ranks(flat[None])[0].astype(np.float64) * (flat.size - 1)
    return float((ranks[positive].sum() - ones * (ones - 1) / 2.0) / (ones * zeros))


def spearman(a: Values, b: Values) -> float | None:
    """Rank correlation (-1..1) of two maps of one shape, equal cells sharing their mean rank.

    None where one of them is constant: it has no order that the other could agree or disagree with.
    """
    ranks = cell_ranks(np.stack([a.ravel(), b.ravel()])).astype(np.float64)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    lengths = np.sqrt((centred**2).sum(axis=1))
    if not lengths.all():
        return None
    return float(np.clip((centred[0] @ centred[1]) / (lengths[0] * lengths[1]), -1.0, 1.0))


def jensen_shannon_bits(p: Values, q: Values) -> float:
    """Jensen-Shannon divergence in bits (0 for equal maps, 1 for maps that share no cell; Lin, IEEE Trans. IT 1991).

    Of the maps' positive parts, each normalised over its cells; a map that is nowhere positive is uniform.
    """
    if p.shape != q.shape:
        raise ValueError(f"maps of shapes {p.shape} and {q.shape} are not compared")
    first, second = _shares(p), _shares(q)
    middle = (first + second) / 2.0
    return max(0.0, (_divergence(first, middle) + _divergence(second, middle)) / 2.0)


def _iou(marked: BoolArray, mask: BoolArray) -> float:
    both = np.count_nonzero(marked & mask)
    union = np.count_nonzero(marked) + np.count_nonzero(mask) - both
    return both / union if union else 0.0


def _positive(values: Values) -> Float32Array:
    return np.asarray(np.maximum(values, 0.0), dtype=np.float32)


def _shares(values: Values) -> npt.NDArray[np.float64]:
    positive = np.maximum(values, 0.0).astype(np.float64).ravel()
    total = float(positive.sum())
    return positive / total if total > 0.0 else np.full(positive.size, 1.0 / positive.size)


def _divergence(shares: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """KL(shares || reference) in bits; the reference is positive wherever the shares are."""
    there = shares > 0.0
    return float((shares[there] * np.log2(shares[there] / reference[there])).sum())
