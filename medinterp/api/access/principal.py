"""Who asks: what a key or a token stands for, and the visit that it is shown on."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from starlette.types import Scope


@dataclass(frozen=True)
class Principal:
    """name: what logs say; owner: whose reports they are; scopes: of settings.SCOPES; rates: None for the settings'.

    expires_at: when what was shown ends to hold, seconds since 1970; None for never.
    """

    name: str
    owner: str
    scopes: frozenset[str]
    per_minute: float | None = None
    burst: int | None = None
    expires_at: float | None = None


@dataclass
class Visit:
    """One request, as the door let it in. principal: None where nobody is asked."""

    address: str
    scope: Scope = field(repr=False)
    principal: Principal | None = None
    told: set[tuple[str, str]] = field(default_factory=set)
    """What the audit log has of it already: action and report."""

    @property
    def owner(self) -> str | None:
        """Whose reports this visit sees."""
        return None if self.principal is None else self.principal.owner

    @property
    def name(self) -> str | None:
        """What logs call the one who asks."""
        return None if self.principal is None else self.principal.name

    @property
    def route(self) -> str | None:
        """The template of the route that answers, once it is known: /reports/{report_id}, never the path itself."""
        path = getattr(self.scope.get("route"), "path", None)
        return path if isinstance(path, str) else None


VISIT: ContextVar[Visit | None] = ContextVar("VISIT", default=None)
"""Of the request that is being answered; set by the door."""
