"""Settings of the report store, as they stand in serve_config.yaml."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

DAY_S = 24 * 3600.0


class SqliteStoreSettings(BaseModel):
    """One file on one machine; the directory is made private (0700), the file too (0600)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["sqlite"] = "sqlite"
    path: str = Field(default="~/.medinterp/store/reports.sqlite3", min_length=1)
    lifetime_s: float = Field(default=3600.0, gt=0, le=30 * DAY_S)
    max_bytes: int = Field(default=2**30, gt=0, description="All reports together.")


class RedisStoreSettings(BaseModel):
    """A Redis server for a cluster; its password comes from the environment, never from here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["redis"]
    url: str = Field(description="redis://HOST:PORT/DB or rediss://... (TLS)")
    password_env: str = Field(default="MEDINTERP_REDIS_PASSWORD", min_length=1)
    lifetime_s: float = Field(default=3600.0, gt=0, le=30 * DAY_S)

    @field_validator("url")
    @classmethod
    def without_password(cls, url: str) -> str:
        """Refuse another scheme, and a password that would stand readable in a configuration file."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError("the store's url starts with redis:// or rediss://")
        if parts.password is not None:
            raise ValueError("put the password into the environment variable named by password_env")
        return url


StoreSettings = Annotated[SqliteStoreSettings | RedisStoreSettings, Field(discriminator="kind")]
