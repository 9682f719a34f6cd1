"""The service's own numbers: what one process has counted, as Prometheus reads it.

Every label is one of a few words of ours: nothing of a request, no id and no name stands in one. What is counted here
is also told to sinks (deployments/metrics.py: Ray's own metrics). `collected` and `merged` put many processes together.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from medinterp import stages
from medinterp.api.problems import status_of, tree_class
from medinterp.errors import FilmWithheldError, MedInterpError, ServiceBusyError, StoreFullError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True)
class Definition:
    """A metric. name: without the `_total` that Prometheus sets behind a counter; labels: what tells its rows apart."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> tuple[str, ...]:
        """The names under which Prometheus finds it."""
        if self.kind == "histogram":
            return tuple(f"{self.name}_{part}" for part in ("bucket", "count", "sum"))
        return (f"{self.name}_total",) if self.kind == "counter" else (self.name,)


class Sink(Protocol):
    """Who is told of every count and every time beside this process's own registry."""

    def take(self, definition: Definition, value: float, labels: Mapping[str, str]) -> None:
        """Of a counter: by how much; of a histogram: the value."""
        ...


REGISTRY = prometheus_client.CollectorRegistry()
DEFINITIONS: dict[str, Definition] = {}
GAUGES: list[Gauge] = []
_SINKS: list[Sink] = []


def add_sink(sink: Sink) -> None:
    """Tell it of everything from now on."""
    _SINKS.append(sink)


def _define(name: str, kind: Kind, told: str, labels: tuple[str, ...]) -> Definition:
    definition = Definition(f"medinterp_{name}", kind, told, labels)
    DEFINITIONS[definition.name] = definition
    return definition


class Counter:
    """What only grows."""

    def __init__(self, name: str, told: str, *labels: str) -> None:
        self.definition = _define(name, "counter", told, labels)
        self._own = prometheus_client.Counter(self.definition.name, told, labels, registry=REGISTRY)

    def add(self, count: float = 1, **labels: str) -> None:
        """Count; nothing is told of a count of 0."""
        if count:
            (self._own.labels(**labels) if labels else self._own).inc(count)
            for sink in _SINKS:
                sink.take(self.definition, count, labels)

    def value(self, **labels: str) -> float:
        """What this process has counted."""
        return REGISTRY.get_sample_value(f"{self.definition.name}_total", labels) or 0.0


class Histogram:
    """Times, in seconds."""

    def __init__(self, name: str, told: str, *labels: str) -> None:
        self.definition = _define(name, "histogram", told, labels)
        self._own = prometheus_client.Histogram(
            self.definition.name, told, labels, registry=REGISTRY, buckets=SECONDS
        )

    def observe(self, seconds: float, **labels: str) -> None:
        """Count one."""
        (self._own.labels(**labels) if labels else self._own).observe(seconds)
        for sink in _SINKS:
            sink.take(self.definition, seconds, labels)

    def count(self, **labels: str) -> float:
        """How many this process has timed."""
        return REGISTRY.get_sample_value(f"{self.definition.name}_count", labels) or 0.0


class Gauge:
    """What is so just now: asked for when somebody looks; where nobody can say it, or not now, there is no row."""

    def __init__(self, name: str, told: str, *labels: str) -> None:
        self.definition = _define(name, "gauge", told, labels)
        self._asked: dict[tuple[str, ...], Callable[[], float]] = {}
        REGISTRY.register(self)
        GAUGES.append(self)

    def ask(self, value: Callable[[], float], **labels: str) -> None:
        """Ask it from now on, from any thread; in place of who was asked before under the same labels."""
        self._asked[tuple(labels[name] for name in self.definition.labels)] = value

    def values(self) -> Iterator[tuple[dict[str, str], float]]:
        """Every row; a store that cannot answer now has none."""
        for row, value in list(self._asked.items()):
            try:
                found = float(value())
            except MedInterpError:
                continue
            if math.isfinite(found):
                yield dict(zip(self.definition.labels, row, strict=True)), found

    def collect(self) -> Iterator[Metric]:
        """For the registry."""
        metric = Metric(self.definition.name, self.definition.help, "gauge")
        for labels, found in self.values():
            metric.add_sample(self.definition.name, labels, found)
        yield metric

    def describe(self) -> Iterator[Metric]:
        """For the registry, which would collect otherwise."""
        yield Metric(self.definition.name, self.definition.help, "gauge")


REPORTS = Counter(
    "reports",
    "By how they ended: written, given, refused, failed, left (by the caller); and by model, as the settings call it.",
    "outcome",
    "model",
)
WORDS = Counter("words", "Words of the reports that were written or given.")
WITHHELD = Counter("films_withheld", "Films on which a report would mean nothing, by what is wrong.", "warning")
QUESTIONS = Counter("questions", "Questions about a report: what was asked, and how it ended.", "kind", "outcome")
JUDGEMENTS = Counter("judgements", "Maps that were judged, by the verdict.", "verdict")
KEPT = Counter("kept_reports", "Reports that were drawn: kept unpacked (hit) or unpacked anew (miss).", "result")
REFUSED_CONFIG = Counter("user_config_refused", "Changes of user_config that were wrong: what held before holds on.")
STAGE_SECONDS = Histogram("stage_seconds", "What a request's time goes into.", "stage")
METHOD_SECONDS = Histogram("method_seconds", "Computing all maps of a report by one method.", "method")
SLOTS = Gauge("slots", "Reports that the writer can write side by side.")
SLOTS_BUSY = Gauge("slots_busy", "Reports that are being written in slots.")
QUEUE = Gauge(
    "queue_length",
    "reports, questions: under way or waiting; writer: reports that wait for a slot; decoding: films that wait for a "
    "worker; traces: that wait for room in the object store.",
    "queue",
)
TRACE_BYTES = Gauge("trace_bytes", "Of traces on their way to relevancy.")
TRACE_MAX_BYTES = Gauge("trace_max_bytes", "Of traces that may be on their way at once.")
KEPT_BYTES = Gauge("kept_bytes", "Of reports that are kept unpacked.")
DECODING_WORKERS = Gauge("decoding_workers", "Processes that decode films.")
STORE_BYTES = Gauge("store_bytes", "Of all that the store keeps. Every replica of api says the same.")
STORE_MAX_BYTES = Gauge("store_max_bytes", "What the store may keep; no row where there is no limit.")
STORE_REPORTS = Gauge("store_reports", "Reports in the store.")
STORE_SHARE = Gauge("store_share", "How full the store is, 0 to 1; the log warns from 0.8 on.")


def _timed(told: stages.Stage) -> None:
    if told.method is not None:
        METHOD_SECONDS.observe(told.seconds, method=told.method)
    else:
        STAGE_SECONDS.observe(told.seconds, stage=told.name)


stages.listen(_timed)


def outcome_of(error: BaseException) -> str:
    """refused: the request's own fault, or no place for it; left: nobody waits any more; failed: ours."""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "left"
    if isinstance(error, ServiceBusyError | StoreFullError):
        return "refused"
    return "refused" if isinstance(error, MedInterpError) and status_of(tree_class(error)) < 500 else "failed"


@contextmanager
def counted(counter: Counter, **labels: str) -> Iterator[None]:
    """Count by its outcome what ends in an error; what ends well counts itself."""
    try:
        yield
    except BaseException as error:
        counter.add(1, outcome=outcome_of(error), **labels)
        if isinstance(error, FilmWithheldError):
            for code in sorted({warning.code for warning in error.warnings}):
                WITHHELD.add(warning=code)
        raise


class Collected(NamedTuple):
    """One process's numbers, to be sent to another."""

    deployment: str
    replica: str
    metrics: tuple[Metric, ...]


def collected(deployment: str, replica: str) -> Collected:
    """This process's. Asks the store how full it is: not for an event loop."""
    return Collected(deployment, replica, tuple(REGISTRY.collect()))


def merged(parts: Iterable[Collected]) -> bytes:
    """All of them in Prometheus' text format, every row with the labels `deployment` and `replica`."""
    families: dict[str, Metric] = {}
    for part in parts:
        where = {"deployment": part.deployment, "replica": part.replica}
        for metric in part.metrics:
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            family.samples += [
                Sample(row.name, {**row.labels, **where}, row.value)
                for row in metric.samples
                if not row.name.endswith("_created")
            ]
    return prometheus_client.generate_latest(_Families([one for one in families.values() if one.samples]))


class _Families(prometheus_client.CollectorRegistry):
    """What `generate_latest` takes."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families
