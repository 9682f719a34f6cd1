"""Why did the model write this word? Reports of chest films, and the regions that drove each word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medinterp.client import AsyncClient as AsyncClient
    from medinterp.client import Client as Client
    from medinterp.explainer import Explainer as Explainer
    from medinterp.explanation import Explanation as Explanation

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "Explainer", "Explanation", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the facade only when it is asked for, so that `import medinterp` stays quick."""
    if name == "Explainer":
        from medinterp.explainer import Explainer

        return Explainer
    if name == "Explanation":
        from medinterp.explanation import Explanation

        return Explanation
    if name in ("AsyncClient", "Client"):
        from medinterp import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
