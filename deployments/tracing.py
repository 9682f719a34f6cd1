"""Traces, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector: Serve's spans of a request, and ours by stage.

Serve starts a span in its proxy and in every replica that a request reaches, and hands the context on with its handles
(W3C traceparent); a client's own traceparent is the parent. Below them is a span for each stage (medinterp/stages.py).
They leave by OTLP over HTTP, as OpenTelemetry's own variables say (OTEL_EXPORTER_OTLP_HEADERS for what is secret);
RAY_SERVE_TRACING_SAMPLING_RATIO says how many. Nothing that a client has sent is in them: Serve writes the path, with a
report's id, and the texts of exceptions into its spans, and both are left out here (`scrub`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deployments.environment import ENDPOINTS, traced
from medinterp import stages

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

SCOPE = "medinterp"
KEPT = ("app", "deployment", "call_method", "replica_id", "is_streaming", "request_type", "http.status_code", "method")
"""Attributes that are sent; none of them holds anything that a client has sent."""
VERBS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WORD = re.compile(r"[A-Za-z_]{1,64}")


class TracingError(Exception):
    """Traces are asked for and cannot be sent; the text says what is missing."""


def require_traceable() -> None:
    """Raise TracingError where the exporter is not installed, or nobody says where the collector is."""
    try:
        import opentelemetry.exporter.otlp.proto.http.trace_exporter  # noqa: F401
    except ImportError:
        raise TracingError("traces need what `pip install medinterp[otel]` brings") from None
    if not traced(os.environ):
        raise TracingError(f"traces need the collector's address in the environment variable {ENDPOINTS[0]}")


def processors() -> list[SpanProcessor]:
    """Called by Serve in its proxies and in every replica. Raises TracingError."""
    require_traceable()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    stages.listen(add_span)
    return [BatchSpanProcessor(scrubbed(OTLPSpanExporter()))]


def add_span(told: stages.Stage) -> None:
    """A span of a stage that has ended, below the span that is current; none outside a request that is traced."""
    from opentelemetry import trace

    if not trace.get_current_span().is_recording():
        return
    attributes = {} if told.method is None else {"method": told.method}
    span = trace.get_tracer(SCOPE).start_span(told.name, start_time=told.began_ns, attributes=attributes)
    span.end(end_time=told.began_ns + round(told.seconds * 1e9))


def scrubbed(exporter: Any) -> Any:
    """An exporter of spans that sends through `exporter` what may leave of them."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Scrubbed(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            sent: SpanExportResult = exporter.export([scrub(span) for span in spans])
            return sent

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return bool(exporter.force_flush(timeout_millis))

    return Scrubbed()


def scrub(span: ReadableSpan) -> ReadableSpan:
    """The span with its times, its place in the trace, and KEPT: no path, no request id, no event, no error's text."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Status

    given = span.attributes or {}
    return ReadableSpan(
        name=told_name(span.name),
        context=span.context,
        parent=span.parent,
        resource=Resource({"service.name": os.environ.get("OTEL_SERVICE_NAME", SCOPE)}),
        attributes={name: given[name] for name in KEPT if name in given},
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def told_name(name: str) -> str:
    """A span's name without what a client has sent: `proxy_http_request api POST /v1/reports/ID` loses its path."""
    first, *rest = name.split()[:3]
    if first.startswith("proxy_"):
        rest = [word for k, word in enumerate(rest) if k == 0 or word in VERBS]
    return " ".join(word for word in (first, *rest) if WORD.fullmatch(word)) or "span"
