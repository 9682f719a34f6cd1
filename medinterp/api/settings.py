"""Limits and defaults of the HTTP API, as they stand in serve_config.yaml."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from medinterp.api.store.settings import SqliteStoreSettings, StoreSettings


class Limits(BaseModel):
    """What one request may ask for, and how long it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_upload_bytes: int = Field(default=64 * 2**20, gt=0)
    max_pixels: int = Field(default=2**26, gt=0)
    max_prompt_characters: int = Field(default=8000, gt=0)
    max_new_tokens: int = Field(default=1024, gt=0)
    default_max_new_tokens: int = Field(default=512, gt=0)
    timeout_s: float = Field(default=300.0, gt=0, description="From the upload to the report.")

    @model_validator(mode="after")
    def default_within_limit(self) -> Self:
        """Refuse a default that no request could name."""
        if self.default_max_new_tokens > self.max_new_tokens:
            raise ValueError("default_max_new_tokens is above max_new_tokens")
        return self


class ApiSettings(BaseModel):
    """Everything that the HTTP API is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = Field(
        default=("layer_weighted", "raw"), min_length=1, description="When none are named; the first is shown first."
    )
    limits: Limits = Limits()
    store: StoreSettings = SqliteStoreSettings()
