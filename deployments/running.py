"""The service from its start to its end: one that cannot start says why, one that is ended finishes its work first."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve._private.api import serve_start
from ray.serve._private.constants import SERVE_NAMESPACE, SERVE_PROXY_NAME
from ray.serve.config import gRPCOptions
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, ApplicationStatusOverview

from deployments.configuration import Configuration, StartError, fixed_part, read_configuration
from deployments.edge import close_door
from deployments.ending import Ending

LOOK_S = 0.5
READY_LOOK_S = 5.0
DRAIN_LOOK_S = 0.1
CLOSING_S = 60.0
"""Beyond draining, until replicas, Serve and Ray have ended; what is left then is killed."""
ERROR_LINE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit|NotFound)\w*: .+")
WRAPPERS = ("ray.exceptions.", "ray::", "RuntimeError: Traceback")


def start(configuration: Configuration) -> None:
    """Hand the applications over to Serve, on the Ray that this process has started. Raises StartError."""
    options = configuration.serve
    try:
        client = serve_start(
            http_options=options.http_options.model_dump(),
            proxy_location=options.proxy_location,
            grpc_options=gRPCOptions(**options.grpc_options.model_dump()),
            controller_options=options.controller_options,
        )
        client.deploy_apps(options, _blocking=False)
    except (RayError, TimeoutError) as error:
        raise StartError(f"Serve cannot start: {last_error(str(error)) or type(error).__name__}") from None


def kill() -> None:
    """End Ray's processes without waiting; replicas end with them."""
    node = ray._private.worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)


def run(configuration: Configuration, ending: Ending, path: Path) -> None:
    """Watch over the service until it is told to end, then end it.

    path: of the configuration, read again when told to.
    Raises StartError when it cannot start, and when Ray has died. What fails after a good start is started again by
    Serve until it succeeds.
    """
    ready, node = False, ray._private.worker._global_node
    if node is None:
        raise StartError("Ray was not started by this process")
    while not ending.wait(READY_LOOK_S if ready else LOOK_S):
        for name, process in node.dead_processes():
            raise StartError(f"Ray's {name} has died (status {process.returncode})")
        if not ready and (ready := _running()):
            print(f"ready: http://{configuration.host}:{configuration.port}", flush=True)
        if ending.asked_again():
            configuration = renewed(configuration, path)
    ending.at_once_after(CLOSING_S + (configuration.drain_s if ready else 0))
    if ready:
        drain(configuration.drain_s)
    serve.shutdown()


def renewed(configuration: Configuration, path: Path) -> Configuration:
    """The file's settings, which hold from now on where nothing but `user_config` has changed; else those before."""
    try:
        found = read_configuration(path)
        if fixed_part(found.serve) != fixed_part(configuration.serve):
            raise StartError(f"{path}: more has changed than user_config, and that takes a restart")
        client = _get_global_client()
        if client is None:
            raise StartError("Serve has ended")
        client.deploy_apps(found.serve, _blocking=False)
    except (StartError, RayError) as error:
        print(f"medinterp: nothing is changed: {error}", file=sys.stderr, flush=True)
        return configuration
    print("user_config: read again", flush=True)
    return found


def _running() -> bool:
    """Whether all applications are. Raises StartError for one that will not be."""
    applications = serve.status().applications
    for name, application in applications.items():
        if application.status == ApplicationStatus.DEPLOY_FAILED:
            raise StartError(f"application {name} cannot start: {reason(application)}")
    return bool(applications) and all(one.status == ApplicationStatus.RUNNING for one in applications.values())


def reason(application: ApplicationStatusOverview) -> str:
    """Why an application cannot start, in one line: its deployment's last error."""
    failed = [one for one in application.deployments.values() if "FAIL" in one.status or "UNHEALTHY" in one.status]
    messages = [*(one.message for one in failed), application.message]
    return next(filter(None, map(last_error, messages)), " ".join(messages[0].split()))


def last_error(message: str) -> str:
    """The last line of a traceback that names an error of ours, not one that Ray wraps it in; "" where none does."""
    lines = [line.strip() for line in message.splitlines()]
    errors = [line for line in lines if ERROR_LINE.match(line) and not line.startswith(WRAPPERS)]
    return errors[-1] if errors else ""


def drain(limit_s: float) -> None:
    """Refuse new requests, and return when those under way are answered, or after the limit."""
    deadline, told = time.monotonic() + limit_s, False
    while time.monotonic() < deadline:
        try:
            under_way = sum(ray.get([proxy.__ray_call__.remote(close_door) for proxy in proxies()]))
        except RayError:
            under_way = 1  # a proxy has died; another one is being started
        if not under_way:
            return
        if not told:
            print(f"ending: what is under way ({under_way}) has {limit_s:g} s; again to end at once", flush=True)
        told = True
        time.sleep(DRAIN_LOOK_S)


def proxies() -> list[Any]:
    """The actors of Serve's proxies."""
    named = ray.util.list_named_actors(all_namespaces=True)
    return [
        ray.get_actor(actor["name"], namespace=SERVE_NAMESPACE)
        for actor in named
        if actor["namespace"] == SERVE_NAMESPACE and SERVE_PROXY_NAME in actor["name"]
    ]
