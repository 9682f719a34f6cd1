"""Our numbers among Ray's: told to Ray's metrics, which leave by every node's Prometheus port, beside Serve's own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import metrics as ray_metrics
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from medinterp.api import metrics
from medinterp.api.metrics import Collected, Definition

logger = logging.getLogger("medinterp.metrics")

GAUGES_EVERY_S = 5.0
"""Ray forgets a gauge that nobody has set for two of its reports, 10 s each."""
ANSWER_S = 5.0
"""How long a replica may take to say what it has counted."""


class RaySink:
    """Passes counts and times on to Ray, and asks the gauges regularly; Serve adds deployment, replica, application."""

    def __init__(self) -> None:
        self._counters: dict[str, Any] = {}
        self._histograms: dict[str, Any] = {}
        self._gauges: dict[str, Any] = {}
        for one in metrics.DEFINITIONS.values():
            described: dict[str, Any] = {"description": one.help, "tag_keys": one.labels}
            if one.kind == "counter":
                self._counters[one.name] = ray_metrics.Counter(one.name, **described)
            elif one.kind == "histogram":
                boundaries = list(metrics.SECONDS)
                self._histograms[one.name] = ray_metrics.Histogram(one.name, boundaries=boundaries, **described)
            else:
                self._gauges[one.name] = ray_metrics.Gauge(one.name, **described)

    def take(self, definition: Definition, value: float, labels: Mapping[str, str]) -> None:
        """As medinterp.api.metrics.Sink."""
        if definition.kind == "counter":
            self._counters[definition.name].inc(value, tags=dict(labels))
        else:
            self._histograms[definition.name].observe(value, tags=dict(labels))

    def set_gauges(self) -> None:
        """Ask all of them once."""
        for gauge in metrics.GAUGES:
            for labels, value in gauge.values():
                self._gauges[gauge.definition.name].set(value, tags=labels)

    def set_gauges_for_ever(self) -> None:
        """In a thread of its own."""
        waiting = threading.Event()
        while not waiting.wait(GAUGES_EVERY_S):
            try:
                self.set_gauges()
            except Exception:
                logger.exception("gauges could not be set")


def join_ray_metrics() -> None:
    """Called once by each replica, when it starts; without Serve there is nobody to tell."""
    try:
        serve.get_replica_context()
    except RayServeException:
        return
    sink = RaySink()
    metrics.add_sink(sink)
    threading.Thread(target=sink.set_gauges_for_ever, name="gauges", daemon=True).start()


def collected() -> Collected:
    """What this replica has counted."""
    context = serve.get_replica_context()
    return metrics.collected(context.deployment, context.replica_id.unique_id)


async def collected_by(*handles: DeploymentHandle[Any]) -> tuple[Collected, ...]:
    """What every replica of these deployments has counted, and every replica of the one that asks.

    A replica that does not answer in time is left out, and the log says so.
    """
    context = serve.get_replica_context()
    own = serve.get_deployment_handle(context.deployment, context.app_name)
    found: list[Collected] = []
    for asked in [handle.broadcast("metrics") for handle in (own, *handles)]:
        try:
            answers = await asked.results_async(timeout_s=ANSWER_S, return_exceptions=True)
        except Exception as error:
            logger.warning("metrics: no replica of a deployment has answered: %s", type(error).__name__)
            continue
        for answer in answers:
            if isinstance(answer, Collected):
                found.append(answer)
            else:
                logger.warning("metrics: a replica has not answered: %s", type(answer).__name__)
    return tuple(found)
