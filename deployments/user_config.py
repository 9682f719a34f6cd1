"""A deployment's `user_config`, as Serve hands it over: before the first request, and at every change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from medinterp.api import metrics

logger = logging.getLogger("medinterp.user_config")
Config = TypeVar("Config", bound=BaseModel)


class UserConfig(Generic[Config]):
    """Checks it, and lets it hold from now on."""

    def __init__(self, kind: type[Config], change: Callable[[Config], None]) -> None:
        self._kind, self._change = kind, change
        self._running = False

    def take(self, content: Any) -> None:
        """A replica does not start with a wrong one (ValidationError).

        One that runs already keeps what it has, and the log and the metric `user_config_refused` say so: Serve would
        end every replica that raises here, and no new one could start.
        """
        try:
            checked = self._kind.model_validate(content)
        except ValidationError as error:
            if not self._running:
                raise
            flaws = "; ".join(f"{'.'.join(map(str, flaw['loc'])) or 'it'}: {flaw['msg']}" for flaw in error.errors())
            logger.error("user_config is wrong, what held before holds on: %s", flaws)
            metrics.REFUSED_CONFIG.add()
            return
        self._change(checked)
        if self._running:
            logger.info("user_config: changed")
        self._running = True
