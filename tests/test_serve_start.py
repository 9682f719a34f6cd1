"""`python -m deployments`: what keeps it from starting stands in one line; how it is told to end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from deployments.configuration import StartError, read_configuration, require_free
from deployments.environment import ENVIRONMENT, exports, set_environment
from deployments.running import reason
from tests.served import ROOT, free_port, small_config

ENDING = """
import sys, time
from deployments.ending import Ending
ending = Ending()
ending.listen(lambda: print("killed", flush=True))
print("listening", flush=True)
while not ending.wait(60):
    pass
print("told", flush=True)
{then}
"""


def written(directory: Path, change: str = "", to: str = "") -> Path:
    text = yaml.safe_dump(small_config("phantom", directory, free_port()))
    assert change in text
    path = directory / "serve.yaml"
    path.write_text(text.replace(change, to, 1) if change else text)
    return path


def test_the_file_is_read(tmp_path: Path) -> None:
    configuration = read_configuration(written(tmp_path))
    assert (configuration.host, configuration.drain_s) == ("127.0.0.1", 310)
    assert [application.name for application in configuration.serve.applications] == ["api", "ui"]


@pytest.mark.parametrize(
    ("change", "to", "told"),
    [
        ("piece_s:", "piece_z:", r"deployment generation: user_config: questions.piece_z: Extra inputs are not "),
        ("- layer_weighted", "- roar", r"deployment api: user_config: methods: .* no method roar"),
        ("api_root:", "api_rot:", r"application ui: api_rot: Extra inputs"),
        ("max_slots: 8", "max_slots: 0", r"application api: writer.slots.max_slots: Input should be greater"),
        ("deployments.app:build_ui", "somewhere.else:build", r"application ui: somewhere.else:build is none of ours"),
        ("request_timeout_s: 330", "request_timeout_s: soon", r"serve.yaml: http_options.request_timeout_s: "),
        ("http_options:", "http_options: [", r"serve.yaml is no YAML"),
    ],
)
def test_a_wrong_one_is_refused_in_one_line(tmp_path: Path, change: str, to: str, told: str) -> None:
    with pytest.raises(StartError, match=told) as caught:
        read_configuration(written(tmp_path, change, to))
    assert "\n" not in str(caught.value)
    with pytest.raises(StartError, match="No such file"):
        read_configuration(tmp_path / "nowhere.yaml")


def test_the_process_says_so_and_ends(tmp_path: Path) -> None:
    wrong = written(tmp_path, "piece_s:", "piece_z:")
    ended = subprocess.run(
        [sys.executable, "-m", "deployments", str(wrong)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert re.fullmatch(r"medinterp: .*piece_z.*", ended.stderr.splitlines()[-1])


def test_a_port_that_somebody_has_is_not_shared_with_them() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


MESSAGE = """The deployment failed to start 3 times in a row. Retrying 0 more time(s). Error:
\x1b[36mray::ServeReplica:api:api.initialize_and_get_metadata()\x1b[39m (pid=1, ip=127.0.0.1)
  File "deployments/api.py", line 31, in __init__
    self._store = open_store(settings.store)
medinterp.errors.StoreError: others may enter the report store: chmod go-rwx /x

The above exception was the direct cause of the following exception:

ray.exceptions.RayTaskError: trouble
"""


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([("HEALTHY", ""), ("DEPLOY_FAILED", MESSAGE)], "medinterp.errors.StoreError: others may enter the"),
        ([], "RuntimeError: No module named x"),
        ([("DEPLOY_FAILED", "no room\n  for it")], "no room for it"),
    ],
)
def test_the_reason_is_the_deployments_own_last_error(messages: list[tuple[str, str]], told: str) -> None:
    deployments = {str(k): SimpleNamespace(status=one, message=message) for k, (one, message) in enumerate(messages)}
    whole = "RuntimeError: No module named x" if not messages else "see the deployments"
    found = reason(SimpleNamespace(deployments=deployments, message=whole))  # type: ignore[arg-type]
    assert found.startswith(told) and "\n" not in found


def test_what_ray_reads_from_the_environment_is_set_unless_it_is_set_already() -> None:
    mine = {"RAY_AUTH_MODE": "disabled"}
    set_environment(mine)
    assert mine == {**ENVIRONMENT, "RAY_AUTH_MODE": "disabled"}
    clean = {"PATH": os.environ["PATH"]}
    told = subprocess.run(["sh", "-c", f"{exports({})}\nenv"], capture_output=True, text=True, check=True, env=clean)
    assert {f"{name}={value}" for name, value in ENVIRONMENT.items()} <= set(told.stdout.splitlines())


def test_those_names_are_what_serve_reads() -> None:
    """Serve and Ray say nothing of a name that they do not know."""
    script = (
        "from ray.serve._private import constants as c\n"
        "from ray._private import ray_constants as r\n"
        "from ray._common.usage import usage_lib\n"
        "from ray._private.services import get_node_ip_address\n"
        "print(c.PROXY_HEALTH_CHECK_PERIOD_S, c.PROXY_READY_CHECK_TIMEOUT_S)\n"
        "print(c.RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH, usage_lib.usage_stats_enabled(), get_node_ip_address())"
    )
    environment = {**os.environ, **ENVIRONMENT}
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert told.stdout.split() == ["0.5", "20.0", "deployments.edge:middlewares", "False", "127.0.0.1"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_once_is_to_finish_and_twice_is_at_once(name: str) -> None:
    script = ENDING.format(then="time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "told\n"
        assert process.poll() is None
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "killed\n"
        assert process.wait(10) == 130


def test_waiting_for_others_has_an_end() -> None:
    script = ENDING.format(then="ending.at_once_after(0.3)\ntime.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        assert process.stdout.read() == "told\nkilled\n"
        assert process.wait(10) == 130 and time.monotonic() - started < 5
