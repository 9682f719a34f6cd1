"""The films of an audit as arrays: who they are of, where their lungs, bodies and markers lie, and their groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medinterp.audit.schema import OWN
from medinterp.audit.tables import Audit
from medinterp.types import Float32Array

GROUPS_AT_MOST = 12
"""Different values of a column from which on it is cut into thirds, or, where it is no number, not looked at."""
TOUCHED = 0.05
"""Share of a cell that a marker covers at least for the cell to be one with a marker."""
SIDES = ("left", "top", "right", "bottom")


@dataclass(frozen=True, eq=False)
class Films:
    """All films, by their ids.

    whose: of each film what tells its patient from others, a digest;
    patient: int64 [films], films of one patient alike (a film whose patient is not told is a patient of its own);
    lungs: float64 [films, 4], left, top, right, bottom as shares, nan where not found; body, marker: float32
    [films, cells], of each cell the share in the body, and 1 where a marker touches it; labels: findings of each, None
    where none were given; groups: by column of the source, the name of each film's group ("" for none).
    """

    ids: list[str]
    whose: list[str]
    patient: npt.NDArray[np.int64]
    grid: tuple[int, int]
    lungs: npt.NDArray[np.float64]
    body: Float32Array
    marker: Float32Array
    labels: list[frozenset[str] | None]
    reports: list[str]
    groups: Mapping[str, npt.NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def patients(self) -> int:
        return int(self.patient.max(initial=-1)) + 1


def read_films(audit: Audit) -> Films:
    """The films of an audit, without their thumbnails."""
    own = [OWN + name for name in audit.manifest.get("columns", ())]
    kept = ["film_id", "report", "labels", "patient_id_sha256", "lungs", "markers", "body", *own]
    table = audit.films(kept).sort_by("film_id")
    rows, columns = audit.grid
    lungs = [[np.nan] * 4 if box is None else [box[side] for side in SIDES] for box in table["lungs"].to_pylist()]
    markers = [marker_cells(boxes, rows, columns) for boxes in table["markers"].to_pylist()]
    body = table["body"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    ids = table["film_id"].to_pylist()
    whose = [who or f"film {name}" for who, name in zip(table["patient_id_sha256"].to_pylist(), ids, strict=True)]
    grouped = {name.removeprefix(OWN): groups_of(table[name].to_pylist()) for name in own}
    return Films(
        ids=ids,
        whose=whose,
        patient=np.unique(whose, return_inverse=True)[1].astype(np.int64),
        grid=(rows, columns),
        lungs=np.array(lungs, dtype=np.float64).reshape(-1, 4),
        body=body.reshape(-1, rows * columns).astype(np.float32),
        marker=np.stack(markers) if markers else np.zeros((0, rows * columns), dtype=np.float32),
        labels=[None if names is None else frozenset(names) for names in table["labels"].to_pylist()],
        reports=table["report"].to_pylist(),
        groups={name: found for name, found in grouped.items() if found is not None},
    )


def marker_cells(boxes: Sequence[Mapping[str, Any]], rows: int, columns: int) -> Float32Array:
    """Cells that a marker touches, float32 [rows * columns] of 0 and 1; boxes as the table has them."""
    covered = np.zeros((rows, columns), dtype=np.float64)
    for box in boxes:
        across, down = overlap(box["left"], box["right"], columns), overlap(box["top"], box["bottom"], rows)
        covered = np.maximum(covered, down[:, None] * across[None])
    return (covered >= TOUCHED).astype(np.float32).ravel()


def overlap(start: npt.ArrayLike, end: npt.ArrayLike, cells: int) -> npt.NDArray[np.float64]:
    """Of each of `cells` cells side by side from 0 to 1 the share between start and end, float64 [..., cells]."""
    first, last = np.asarray(start, dtype=np.float64)[..., None], np.asarray(end, dtype=np.float64)[..., None]
    edges = np.arange(cells + 1) / cells
    covered = np.minimum(last, edges[1:]) - np.maximum(first, edges[:-1])
    return np.asarray(np.clip(covered * cells, 0.0, 1.0))


def groups_of(values: Sequence[Any]) -> npt.NDArray[np.str_] | None:
    """The group of each film by a column: its value, or its third of the numbers; None where there are too many.

    Also where all films are of one group: there is nothing to compare.
    """
    told = [value for value in values if value is not None]
    if len(set(told)) > GROUPS_AT_MOST:
        if not all(isinstance(value, int | float) for value in told):
            return None
        low, high = np.quantile(told, [1 / 3, 2 / 3])
        names = (f"up to {low:g}", f"{low:g} to {high:g}", f"over {high:g}")
        values = [None if value is None else names[int(value > low) + int(value > high)] for value in values]
    groups = np.array(["" if value is None else str(value) for value in values], dtype=np.str_)
    return groups if len(set(groups.tolist()) - {""}) > 1 else None
