"""The schema of the models that read films, and of the service's limits."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medinterp.api.schema_base import Model
from medinterp.report import BOX_QUESTION

MAX_MODEL_CHARACTERS = 200
"""Of what a request calls a model."""


class LoadedModelModel(Model):
    """A model that reads films. One that is not loaded is known from its directory alone, and none is loaded for this.
    """

    alias: str = Field(description="What a request calls it: the field `model`.")
    id: str
    loaded: bool = Field(description="In the replica that answered; another one is loaded by the first request for it.")
    problem: str | None = Field(default=None, description="Why it could not be loaded when it was last tried.")
    revision: str | None = Field(default=None, description="Of a model that is loaded, and so below.")
    dtype: str | None = None
    device: str | None = None
    notice: str | None = Field(description="A sentence to show beside every report.")
    default_prompt: str
    reads_indication: bool = Field(default=True, description="Whether `indication` may be sent.")
    box_question: str = Field(default=BOX_QUESTION, description="Asks for boxes of {finding}.")
    writer: str | None = Field(
        default=None, description="Who writes reports: this model in slots of its own, or an engine by its name."
    )


class LimitsModel(Model):
    """What one request may ask for."""

    max_upload_bytes: int
    max_pixels: int
    min_film_side: int = Field(description="Pixels of the shorter side.")
    max_film_aspect: float = Field(description="The longer side over the shorter.")
    max_decoded_bytes: int
    max_prompt_characters: int
    max_report_characters: int = Field(description="Of a report that is given; its tokens: `max_new_tokens`.")
    max_new_tokens: int
    default_max_new_tokens: int


class ListedModelModel(Model):
    """A model as clients of OpenAI's protocol list it."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="Not known.")
    owned_by: str = "medinterp"


class ModelsModel(Model):
    """The models that this service reads films with, and its limits; `object` and `data` for clients of OpenAI's."""

    models: tuple[LoadedModelModel, ...] = Field(description="The first reads for requests that name none.")
    limits: LimitsModel
    object: Literal["list"] = "list"
    data: tuple[ListedModelModel, ...]
