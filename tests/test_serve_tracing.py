"""Traces: stages below the request's span, in threads too, and nothing in them that a client has sent."""

from __future__ import annotations

import asyncio
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from opentelemetry import context, trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace.status import Status, StatusCode

from deployments.configuration import StartError, read_configuration
from deployments.environment import ENDPOINTS, TRACED, set_environment
from deployments.errands import Errands
from deployments.tracing import KEPT, TracingError, add_span, processors, scrubbed, told_name
from medinterp import stages
from tests.api_service import Service
from tests.served import free_port, small_config

PLANTED = "MILLER"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """What leaves, of a provider that takes the place of Serve's."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(scrubbed(exporter)))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    stages.listen(add_span)
    yield exporter
    stages._LISTENERS.remove(add_span)


def test_a_request_has_a_span_with_its_stages_below(sent: InMemorySpanExporter) -> None:
    with stages.stage("decode"):
        """Outside of a request: nobody's span."""
    with trace.get_tracer("ray").start_as_current_span("replica_handle_request generation write") as request:
        with stages.stage("write"), stages.stage("method", "raw"):
            time.sleep(0.01)
        stages.tell("wait", 0.5, ended_ns=2 * 10**9)
    method, write, wait, whole = sent.get_finished_spans()
    assert [span.name for span in (method, write, wait, whole)] == [
        "method", "write", "wait", "replica_handle_request generation write"
    ]
    own = request.get_span_context()
    for span in (method, write, wait):
        assert span.parent is not None and span.context is not None
        assert (span.parent.span_id, span.context.trace_id) == (own.span_id, own.trace_id)
    assert dict(method.attributes or {}) == {"method": "raw"}
    assert (wait.start_time, wait.end_time) == (1_500_000_000, 2_000_000_000)
    assert write.end_time and write.start_time and 0.009 < (write.end_time - write.start_time) / 1e9 < 1


def test_the_trace_goes_on_in_the_thread_that_works_for_the_request(sent: InMemorySpanExporter) -> None:
    def work(*_: object) -> None:
        with stages.stage("write"):
            """In the thread."""

    async def request() -> None:
        with trace.get_tracer("ray").start_as_current_span("replica_handle_request generation write"):
            await Errands(ContextVar("caller", default="")).run("somebody", work)

    asyncio.run(request())
    write, whole = sent.get_finished_spans()
    assert write.parent is not None and whole.context is not None
    assert write.parent.span_id == whole.context.span_id


def test_nothing_that_a_client_has_sent_leaves(sent: InMemorySpanExporter) -> None:
    """As Serve's proxy and replicas fill their spans."""
    given: dict[str, Any] = {
        "request_id": PLANTED, "request_route_path": f"/v1/reports/{PLANTED}", "http.route": f"/v1/reports/{PLANTED}",
        "request_method": PLANTED, "http.method": PLANTED, "route": f"/{PLANTED}", "multiplexed_model_id": PLANTED,
        "deployment": "api", "app": "api", "http.status_code": 404, "call_method": "__call__", "is_streaming": True,
    }
    name = f"proxy_http_request api {PLANTED} /v1/reports/{PLANTED}"
    span = trace.get_tracer("ray").start_span(name, attributes=given)
    span.record_exception(ValueError(PLANTED))
    span.set_status(Status(StatusCode.ERROR, PLANTED))
    span.end()
    (left,) = sent.get_finished_spans()
    assert left.name == "proxy_http_request api"
    assert left.status.status_code is StatusCode.ERROR
    assert dict(left.attributes or {}) == {name: given[name] for name in KEPT if name in given}
    assert PLANTED not in left.to_json()
    assert left.resource.attributes == {"service.name": "medinterp"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("proxy_http_request api GET /v1/reports/0a1b/film.png", "proxy_http_request api GET"),
        ("proxy_http_request api MILLER /v1/x", "proxy_http_request api"),
        ("replica_handle_request rendering overlay", "replica_handle_request rendering overlay"),
        ("replica_handle_request api __call__", "replica_handle_request api __call__"),
        ("/v1/reports/MILLER", "span"),
        ("write", "write"),
    ],
)
def test_names_lose_their_paths(name: str, told: str) -> None:
    assert told_name(name) == told


def test_spans_leave_by_otlp_to_where_the_standard_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(ENDPOINTS[0], f"http://127.0.0.1:{server.server_port}")
        (processor,) = processors()
        stages._LISTENERS.remove(add_span)
        provider = TracerProvider()
        provider.add_span_processor(processor)
        with provider.get_tracer("ray").start_as_current_span(f"proxy_http_request api POST /v1/{PLANTED}"):
            """Empty."""
        provider.shutdown()
        server.shutdown()
    ((path, body),) = received
    assert path == "/v1/traces" and PLANTED.encode() not in body
    (spans,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert [span.name for scope in spans.scope_spans for span in scope.spans] == ["proxy_http_request api POST"]
    assert context.get_current() == {}


def test_a_collector_is_all_that_has_to_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(TracingError, match="environment variable OTEL_EXPORTER_OTLP_ENDPOINT"):
        processors()
    plain: dict[str, str] = {}
    set_environment(plain)
    assert not set(TRACED) & set(plain)
    traced = {ENDPOINTS[0]: "http://127.0.0.1:4318", "RAY_SERVE_TRACING_SAMPLING_RATIO": "1"}
    set_environment(traced)
    assert traced["RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"] == f"{processors.__module__}:{processors.__name__}"
    assert traced["RAY_SERVE_TRACING_SAMPLING_RATIO"] == "1"
    script = "from ray.serve._private import constants as c\n"
    script += "print(c.RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH, c.RAY_SERVE_TRACING_SAMPLING_RATIO)"
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, **traced}
    )
    assert told.stdout.split() == ["deployments.tracing:processors", "1.0"]
    config = small_config("phantom", tmp_path, free_port())
    config["tracing_config"] = {"enabled": True}
    place = tmp_path / "serve.yaml"
    place.write_text(yaml.safe_dump(config))
    with pytest.raises(StartError, match="does not reach Serve's proxies"):
        read_configuration(place)


def test_fastapis_own_telemetry_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on by itself wherever there is a provider, and would send paths and values unscrubbed."""
    from medinterp.ui import create_app

    provider = TracerProvider()
    raw = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(raw))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    service = Service(tmp_path)
    with service.client:
        assert service.post().status_code == 201
        assert service.post(max_new_tokens=PLANTED).status_code == 422
    with TestClient(create_app()) as page:
        assert page.get("/").status_code == 200
    assert [span.name for span in raw.get_finished_spans()] == []
    with TestClient(FastAPI()) as plain:  # as it would be
        plain.get("/")
    assert raw.get_finished_spans()
