"""The schema of a report's boxes, and of `POST /v1/reports/{id}/boxes`: does each lie where the model looked?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from medinterp.api.schema_base import Model
from medinterp.types import BoxVerdict


class BoxModel(Model):
    """A box that the answer draws on the film: edges as shares of the film's own width and height, 0 to 1."""

    index: int
    label: str
    left: float
    top: float
    right: float
    bottom: float
    start: int = Field(description="Where the box stands in `report.text`.")
    end: int
    word_indices: tuple[int, ...] = Field(description="Of its label and its coordinates.")
    token_indices: tuple[int, ...]
    finding: str | None = Field(description="The finding that its label names.")
    flaws: tuple[str, ...] = Field(description="What was wrong with it as it was written, and what was made of it.")


class BoxesAskingModel(Model):
    """Nothing: every box is judged."""


class BoxMapModel(Model):
    """How the causal map (occlusion) of some words lies to a box."""

    token_indices: tuple[int, ...]
    reliance: float = Field(description="The largest loss with another film, nats.")
    iou: float = Field(description="Of the box and the map's region (Otsu), on the film.")
    share: float = Field(description="Of the map's positive part, in the box and a cell round it, 0 to 1.")
    peak: tuple[float, float] = Field(description="x and y of the strongest cell's centre, shares of the film.")
    peak_inside: bool = Field(description="Whether the strongest cell touches the box and a cell round it.")


class BoxVerdictModel(Model):
    """Whether a box lies where the model looked."""

    index: int = Field(description="Of `report.boxes`.")
    own: BoxMapModel = Field(description="Of the box's own label and coordinates.")
    finding: BoxMapModel | None = Field(description="Of the words that name the same finding elsewhere.")
    verdict: Literal["agrees", "elsewhere", "text", "unclear"] = Field(
        description="agrees; says here, looked there; not because of the picture; cannot tell."
    )
    sentence: str


class BoxVerdictsModel(Model):
    """A verdict for every box of the report."""

    id: str
    boxes: tuple[BoxVerdictModel, ...]


def box_verdicts_model(report_id: str, verdicts: Sequence[BoxVerdict]) -> BoxVerdictsModel:
    """The answer to `POST /v1/reports/{id}/boxes`."""
    return BoxVerdictsModel(id=report_id, boxes=tuple(map(BoxVerdictModel.model_validate, verdicts)))
