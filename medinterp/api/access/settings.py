"""Who may use the API, as it stands in serve_config.yaml under `access`."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from medinterp.web.peers import LOOPBACK, HostPattern, Network, is_loopback

Scope = Literal["read", "write", "metrics"]
"""read: reports, maps, pictures, files; write: have films read, ask the model, delete; metrics: its numbers."""
SCOPES: tuple[Scope, ...] = ("read", "write", "metrics")

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones alone: whoever can check a token must not be able to make one."""


def _origin(text: str) -> str:
    if not re.fullmatch(r"https?://[^/?#\s]+", text):
        raise ValueError("an origin is SCHEME://HOST or SCHEME://HOST:PORT")
    return text.lower()


Origin = Annotated[str, AfterValidator(_origin)]


class OidcSettings(BaseModel):
    """Bearer tokens of an OpenID Connect provider, beside keys or without them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: str = Field(min_length=1, description="The token's `iss`, letter for letter.")
    audience: str = Field(min_length=1, description="What the token's `aud` has to name.")
    jwks_url: str | None = Field(default=None, description="Where the provider's keys are: https, or this machine.")
    jwks_file: str | None = Field(default=None, description="Or a file with them, read again when it changes.")
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    subject_claim: str = Field(default="sub", min_length=1, description="Whose reports they are.")
    scopes_claim: str = Field(default="scope", min_length=1, description="A text with spaces or a list.")
    scopes_prefix: str = Field(default="", description='What stands before read and write there: "medinterp:".')
    leeway_s: float = Field(default=30, ge=0, le=300, description="Between the provider's clock and this one.")

    @model_validator(mode="after")
    def one_place_of_keys(self) -> Self:
        """Refuse none or two, and a URL that anybody on the way could answer."""
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("oidc needs jwks_url or jwks_file, one of the two")
        if self.jwks_url is not None:
            url = urlsplit(self.jwks_url)
            if not url.hostname or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(url.hostname))):
                raise ValueError("oidc.jwks_url is an https address (http on this machine only)")
        return self


class RateSettings(BaseModel):
    """Requests a minute, and at once; each replica of `api` counts by itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_per_minute: float = Field(default=600, gt=0, description="By one key or token; a key may have its own.")
    key_burst: int = Field(default=120, ge=1)
    address_per_minute: float = Field(default=1200, gt=0, description="From one address, with or without a key.")
    address_burst: int = Field(default=240, ge=1)


class AccessSettings(BaseModel):
    """Keys, tokens, hosts, rates, and the audit log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: str | None = Field(default=None, min_length=1, description="Made by `medinterp keys new`.")
    oidc: OidcSettings | None = None
    insecure: bool = Field(default=False, description="Serve without keys where others can reach the service.")
    session_s: float = Field(default=43_200, gt=0, le=30 * 86_400, description="How long the page stays signed in.")
    allowed_hosts: tuple[HostPattern, ...] = Field(default=LOOPBACK, min_length=1, description='"*" for any.')
    allowed_origins: tuple[Origin, ...] = Field(
        default=(), description="Pages of other hosts that may change something, beside the service's own."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Addresses and networks whose X-Forwarded-For, -Host and -Proto are believed."
    )
    rate: RateSettings = RateSettings()
    audit_log: str | None = Field(default=None, min_length=1, description="A file: who read which report when.")

    @property
    def guarded(self) -> bool:
        """Whether anybody is asked who they are."""
        return self.keys_file is not None or self.oidc is not None

    @model_validator(mode="after")
    def not_both(self) -> Self:
        """Refuse a contradiction."""
        if self.insecure and self.guarded:
            raise ValueError("access.insecure means to serve without keys: leave it out beside keys_file or oidc")
        return self
