"""Typed arguments of the application builders, as they stand in serve_config.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from medinterp.api.settings import ApiSettings


class ModelSettings(BaseModel):
    """Which model reads the films, and how it is loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="phantom", min_length=1, description="A bundled name, a directory or a hub id.")
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = Field(default="auto", min_length=1)
    allow_download: bool = True
    image_first: bool = Field(default=True, description="Whether the film stands before the prompt.")
    calibration: str | None = Field(
        default="auto", min_length=1, description="A file that `medinterp calibrate` wrote for this model."
    )
    film_domain: str | None = Field(
        default="auto", min_length=1, description="A file that describes the films that this model was made for."
    )
    max_trace_bytes: int = Field(
        default=2**28, gt=0, description="The largest trace; it goes through the object store."
    )
    prompt: str | None = Field(
        default=None, min_length=1, description="Instead of the model's default prompt."
    )


class ApiArgs(ApiSettings):
    """Arguments of `deployments.app:build_api`."""

    model: ModelSettings = ModelSettings()


class UiArgs(BaseModel):
    """Arguments of `deployments.app:build_ui`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    api_root: str = Field(
        default="/v1", pattern=r"^(/[A-Za-z0-9._~-]+)+$", description="On the page's own host."
    )
