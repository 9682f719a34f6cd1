"""The file of learned layer weights that `medinterp calibrate` writes, read again for the model it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medinterp.errors import CalibrationError
from medinterp.types import Float32Array


def read_layer_weights(path: Path, *, model_revision: str, layers: int) -> Float32Array:
    """The weights [L] of a file that `Calibration.save` wrote.

    Raises CalibrationError when the file cannot be read, or was made for another revision or depth.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        revision = entries["model_revision"]
        weights = np.asarray(entries["layer_weights"], dtype=np.float32)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(f"{path} is not a calibration that `medinterp calibrate` wrote: {error}") from error
    if revision != model_revision:
        raise CalibrationError(
            f"{path} was made for revision {revision}, this model is {model_revision}; run `medinterp calibrate` again"
        )
    valid = weights.shape == (layers,) and bool((weights >= 0).all()) and abs(float(weights.sum()) - 1.0) < 1e-3
    if not valid:
        raise CalibrationError(f"{path} does not hold {layers} weights that sum to 1")
    return np.asarray(weights / weights.sum(), dtype=np.float32)
