"""Limits and defaults of the HTTP API, as they stand in serve_config.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medinterp.api.access.settings import AccessSettings
from medinterp.api.jobs.settings import JobSettings
from medinterp.api.store.settings import SqliteStoreSettings, StoreSettings
from medinterp.imaging import FilmLimits
from medinterp.imaging.workers import DecodingLimits


class Limits(BaseModel):
    """What one request may ask for, and how long it may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_upload_bytes: int = Field(default=64 * 2**20, gt=0)
    max_pixels: int = Field(default=2**26, gt=0)
    min_film_side: int = Field(default=32, gt=0, description="Pixels of the shorter side.")
    max_film_aspect: float = Field(default=5.0, ge=1, description="The longer side over the shorter.")
    max_decoded_bytes: int = Field(default=2**29, gt=0, description="Of the pixels as decoded, all channels.")
    max_prompt_characters: int = Field(default=8000, gt=0)
    max_report_characters: int = Field(default=20_000, gt=0, le=2**18, description="Of a report that is given.")
    max_new_tokens: int = Field(default=1024, gt=0, description="Of a report, written or given.")
    default_max_new_tokens: int = Field(default=512, gt=0)
    timeout_s: float = Field(default=300.0, gt=0, description="From the upload to the report.")

    @model_validator(mode="after")
    def default_within_limit(self) -> Self:
        """Refuse a default that no request could name."""
        if self.default_max_new_tokens > self.max_new_tokens:
            raise ValueError("default_max_new_tokens is above max_new_tokens")
        return self

    def film(self) -> FilmLimits:
        """Those that hold for the film."""
        return FilmLimits(
            max_bytes=self.max_upload_bytes,
            max_pixels=self.max_pixels,
            max_decoded_bytes=self.max_decoded_bytes,
            min_side=self.min_film_side,
            max_aspect=self.max_film_aspect,
        )


class Decoding(BaseModel):
    """The worker processes that decode films, in every replica of the API, and what one film may cost there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: int = Field(default=2, gt=0, description="Films decoded at once.")
    queue: int = Field(default=64, ge=0, description="Films that may wait; further ones are refused (503).")
    memory_bytes: int = Field(default=2**30, ge=2**26, description="Beyond what a worker takes by itself.")
    cpu_s: int = Field(default=10, gt=0, description="Seconds of computing.")
    wall_s: float = Field(default=20.0, gt=0, description="Seconds in all; decoding stands back behind the rest.")

    def limits(self) -> DecodingLimits:
        """The same as the pool's dataclass."""
        return DecodingLimits(**self.model_dump())


class ApiFixed(BaseModel):
    """What the HTTP API is told when it starts: arguments of the application in serve_config.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decoding: Decoding = Decoding()
    store: StoreSettings = SqliteStoreSettings()
    access: AccessSettings = AccessSettings()
    jobs: JobSettings = JobSettings()
    cache_pictures: bool = Field(
        default=False, description="Browsers may keep pictures on their disk, and ask before they show one again."
    )
    logs: Literal["text", "json"] = "text"


class ApiUserConfig(BaseModel):
    """What may change while the HTTP API runs: `user_config` of the deployment `api` in serve_config.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    methods: tuple[str, ...] = Field(
        default=("layer_weighted", "raw"), min_length=1, description="When none are named; the first is shown first."
    )
    limits: Limits = Limits()

    @field_validator("methods")
    @classmethod
    def methods_are_known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a name that no method has: every request that names none would fail."""
        from medinterp.relevancy import METHODS

        unknown = [name for name in methods if name not in METHODS]
        if unknown:
            raise ValueError(f"there is no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
        return methods


class ApiSettings(ApiUserConfig, ApiFixed):
    """Everything that the HTTP API is told."""


class LiveSettings:
    """The settings that hold now: every request reads them anew."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._listeners: list[Callable[[], None]] = []

    @property
    def methods(self) -> tuple[str, ...]:
        """When a request names none."""
        return self._settings.methods

    @property
    def limits(self) -> Limits:
        """What one request may ask for."""
        return self._settings.limits

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call it after every change."""
        self._listeners.append(listener)

    def change(self, changed: ApiUserConfig) -> None:
        """From now on these hold; requests under way end by those that held when they were checked."""
        self._settings = self._settings.model_copy(update={"methods": changed.methods, "limits": changed.limits})
        for listener in self._listeners:
            listener()
