"""From a DICOM's stored values to what is displayed (PS3.3 C.11.1 and C.11.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from medinterp.errors import UnreadableFilmError, UnsupportedFilmError

Doubles = npt.NDArray[np.float64]


def display(dataset: Dataset, stored: npt.NDArray[Any], notes: list[str]) -> npt.NDArray[Any]:
    """Gray [H, W] over the full range of uint8 (at most 8 bits stored) or uint16; bright is dense.

    Modality LUT or rescale, then VOI LUT or the first window, then MONOCHROME1 inverted. Without a
    window the film's smallest and largest value become black and white. Padding is black.
    Raises UnsupportedFilmError for a VOI function that DICOM does not define.
    """
    low, high = int(stored.min()), int(stored.max())
    # Every step acts on single values, so a table over the stored values is exact and small.
    values = np.arange(low, high + 1, dtype=np.int64)
    padding = _padding(dataset, values)
    present = np.zeros(values.shape, dtype=np.bool_)
    present[stored.astype(np.int64) - low] = True
    shown = _voi(dataset, _modality(dataset, values, notes), present & ~padding, notes)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1.0 - shown
        notes.append("inverted: MONOCHROME1")
    if padding.any():
        shown[padding] = 0.0
        notes.append("padding pixels shown black")
    dtype = np.uint8 if int(dataset.BitsStored) <= 8 else np.uint16
    table = np.rint(shown * np.iinfo(dtype).max).astype(dtype)
    return np.asarray(table[stored.astype(np.int64) - low])


def _padding(dataset: Dataset, values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return np.zeros(values.shape, dtype=np.bool_)
    last = dataset.get("PixelPaddingRangeLimit", first)
    low, high = sorted((int(first), int(last)))
    return np.asarray((values >= low) & (values <= high))


def _modality(dataset: Dataset, values: npt.NDArray[np.int64], notes: list[str]) -> Doubles:
    if dataset.get("ModalityLUTSequence"):
        notes.append("modality LUT applied")
        return np.asarray(apply_modality_lut(values, dataset), dtype=np.float64)
    slope = float(dataset.get("RescaleSlope") or 1.0)
    intercept = float(dataset.get("RescaleIntercept") or 0.0)
    if (slope, intercept) != (1.0, 0.0):
        notes.append(f"rescaled: slope {slope:g}, intercept {intercept:g}")
    return values.astype(np.float64) * slope + intercept


def _voi(dataset: Dataset, values: Doubles, film: npt.NDArray[np.bool_], notes: list[str]) -> Doubles:
    """film: which of the values stand in the picture and are no padding."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        notes.append("VOI LUT applied")
        looked_up = apply_voi(np.rint(values).astype(np.int64), dataset)
        return _clipped(np.asarray(looked_up, dtype=np.float64) / (2**bits - 1))
    center, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if center is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        notes.append(f"window: center {center:g}, width {width:g}, {function}")
        return window(values, center, width, function)
    seen = values[film]
    if seen.size == 0 or seen.max() == seen.min():
        notes.append("no window: one value only, shown black")
        return np.zeros_like(values)
    notes.append(f"no window: {seen.min():g} is black, {seen.max():g} white")
    return _clipped((values - seen.min()) / (seen.max() - seen.min()))


def window(values: Doubles, center: float, width: float, function: str) -> Doubles:
    """Values brought to 0..1 by a window: PS3.3 C.11.2.1.2 (LINEAR) and C.11.2.1.3.

    Raises UnreadableFilmError for a width that the function does not allow, UnsupportedFilmError for
    an unknown function.
    """
    if width < 1 if function == "LINEAR" else width <= 0:
        raise UnreadableFilmError(f"A window width of {width:g} is not allowed for {function}.")
    if function == "LINEAR":
        if width == 1:
            return (values > center - 0.5).astype(np.float64)
        return _clipped((values - (center - 0.5)) / (width - 1) + 0.5)
    if function == "LINEAR_EXACT":
        return _clipped((values - center) / width + 0.5)
    if function == "SIGMOID":
        exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return np.asarray(1.0 / (1.0 + np.exp(exponent)), dtype=np.float64)
    raise UnsupportedFilmError(f"VOI LUT function {function} is not defined by DICOM.")


def _first(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, MultiValue):
        return float(value[0]) if len(value) else None
    return float(value)


def _clipped(values: Doubles) -> Doubles:
    return np.asarray(np.clip(values, 0.0, 1.0), dtype=np.float64)
