"""What Ray and Serve read from the environment alone, and no configuration file can say."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's own variables for the address of a collector: where one is set, requests are traced."""
TRACED = {
    # tracing_config in a configuration file reaches replicas, and not Serve's proxies (2.60): these reach both.
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": "deployments.tracing:processors",
    "RAY_SERVE_TRACING_SAMPLING_RATIO": "0.1",
}
CALLBACK = "deployments.edge:middlewares"

ENVIRONMENT = {
    # Nothing is told to anybody about this service.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Whoever talks to Ray's own ports needs the token in ~/.ray/auth_token, which is made where it is missing.
    "RAY_AUTH_MODE": "token",
    # Of one machine: Ray's own ports listen on 127.0.0.1. (The name is that of what else it is good for: without it no
    # second machine can join, which on Windows and macOS is so anyway.)
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Three looks in a row find a dead proxy, ten seconds apart as Serve has it.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
    # A busy or cold machine needs more than Serve's three times 5 s to start the proxy, and Serve then gives up.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "20",
    # The server itself believes X-Forwarded-For of this machine: `access.trusted_proxies` alone says who is believed.
    "FORWARDED_ALLOW_IPS": "none",
    # Errors of the proxy itself become problem documents, and a service that is being ended turns requests away.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": CALLBACK,
}


def set_environment(environment: MutableMapping[str, str]) -> None:
    """Set what is not set by whoever started this."""
    for name, value in wanted(environment).items():
        environment.setdefault(name, value)


def wanted(environment: Mapping[str, str]) -> dict[str, str]:
    """ENVIRONMENT, with TRACED where there is a collector."""
    return ENVIRONMENT | (TRACED if traced(environment) else {})


def traced(environment: Mapping[str, str]) -> bool:
    """Whether requests are traced."""
    return any(environment.get(name) for name in ENDPOINTS)


def exports(environment: Mapping[str, str]) -> str:
    """The same for a shell, before `serve run` or `ray start`."""
    return "\n".join(f"export {name}={value}" for name, value in wanted(environment).items())
