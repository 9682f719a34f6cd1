"""Settings of the report store, as they stand in serve_config.yaml."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

DAY_S = 24 * 3600.0


class _StoreSettings(BaseModel):
    """What both stores are told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lifetime_s: float = Field(default=3600.0, gt=0, le=30 * DAY_S, description="From the last time a report was read.")
    when_full: Literal["evict", "refuse"] = Field(
        default="evict", description="evict: reports read longest ago make room; refuse: new ones are refused (507)."
    )
    encryption_key_file: str | None = Field(
        default=None,
        min_length=1,
        description="Keys, base64 of 32 bytes a line: the first encrypts, all decrypt. None: nothing is encrypted.",
    )


class SqliteStoreSettings(_StoreSettings):
    """A file and a directory beside it on one machine, both private to this user (0600, 0700)."""

    kind: Literal["sqlite"] = "sqlite"
    path: str = Field(default="~/.medinterp/store/reports.sqlite3", min_length=1)
    max_bytes: int = Field(default=2**30, gt=0, description="Everything together.")


class RedisStoreSettings(_StoreSettings):
    """A Redis server for a cluster; its password comes from the environment, never from here."""

    kind: Literal["redis"]
    url: str = Field(description="redis://HOST:PORT/DB or rediss://... (TLS); USER@ before HOST for a user of its own")
    password_env: str = Field(default="MEDINTERP_REDIS_PASSWORD", min_length=1)
    ca_file: str | None = Field(
        default=None, min_length=1, description="Of rediss: who signed the server's certificate; default: the system's."
    )

    @field_validator("url")
    @classmethod
    def without_password(cls, url: str) -> str:
        """Refuse another scheme, and a password that would stand readable in a configuration file."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError("the store's url starts with redis:// or rediss://")
        if parts.password is not None:
            raise ValueError("put the password into the environment variable named by password_env")
        if parts.query:
            raise ValueError("the store's url has no parameters (what TLS needs is ca_file)")
        return url

    @field_validator("ca_file")
    @classmethod
    def only_with_tls(cls, ca_file: str | None, info: ValidationInfo) -> str | None:
        """Refuse a certificate that nothing would be held against."""
        if ca_file is not None and not str(info.data.get("url", "rediss:")).startswith("rediss:"):
            raise ValueError("ca_file goes with a url of rediss://")
        return ca_file


StoreSettings = Annotated[SqliteStoreSettings | RedisStoreSettings, Field(discriminator="kind")]
