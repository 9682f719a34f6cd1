"""The whole service under many clients: the same films at once and in turn, and beside what the model alone can do."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from medinterp.errors import ServiceError
from medinterp.evaluation.speed.line import BenchLine, interleaved
from medinterp.evaluation.speed.pictures import served_lines
from medinterp.imaging import read_film, rgb8
from medinterp.model import Generator
from medinterp.model.loading import LoadedModel
from medinterp.relevancy import compute_maps
from medinterp.render import encode_png
from medinterp.types import Film

CONFIG = Path("serve_config.yaml")
READY_S = 180.0


def service_lines(
    loaded: LoadedModel, films: Sequence[Film], label: str, *, tokens: int, rounds: int
) -> list[BenchLine]:
    """Requests at once beside the same in turn, and beside the same films explained side by side in this process.

    The service is that of serve_config.yaml, in processes of its own; the model is `label`, as `loaded` is. Raises
    ServiceError when it does not start or a request fails.
    """
    if not CONFIG.is_file():
        raise ServiceError(f"{CONFIG} is not here: run the benchmark where the project's files are")
    blocks = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["applications"][0]["deployments"]
    (methods,) = (block["user_config"]["methods"] for block in blocks if block["name"] == "api")
    generator = Generator(loaded, max_slots=len(films))
    pictures = [encode_png(rgb8(film)[..., 0]) for film in films]

    def explain(picture: bytes) -> int:
        """The service's work without the service."""
        generation = generator.generate([read_film(picture)], max_new_tokens=tokens)
        return len(compute_maps(generation.trace, methods))

    with running_service(label) as url, httpx.Client(base_url=url, timeout=300) as client:

        def read(picture: bytes) -> int:
            answer = client.post(
                "/v1/reports", files={"image": ("film.png", picture)}, data={"max_new_tokens": str(tokens)}
            )
            if answer.status_code != 201:
                raise ServiceError(f"the service answered {answer.status_code}")
            return answer.status_code

        with ThreadPoolExecutor(len(films)) as pool:
            seconds = interleaved(
                {
                    "in turn": lambda: [read(picture) for picture in pictures],
                    "at once": lambda: list(pool.map(read, pictures)),
                    "here": lambda: list(pool.map(explain, pictures)),
                },
                rounds,
            )
        overlays = served_lines(client, tokens, label)
    count = len(films)
    where = f"({label}, {count} films, up to {tokens} tokens)"
    return [
        _times(f"speed of the service with {count} requests at once / in turn {where}", seconds, "in turn"),
        _times(f"speed of the service with {count} requests at once / of this process {where}", seconds, "here"),
        *overlays,
    ]


def _times(name: str, seconds: dict[str, list[float]], baseline: str) -> BenchLine:
    """How many times as fast as the baseline the service with all requests at once is."""
    ratios = sorted(theirs / mine for theirs, mine in zip(seconds[baseline], seconds["at once"], strict=True))
    theirs, mine = (sorted(seconds[run])[len(ratios) // 2] for run in (baseline, "at once"))
    return BenchLine(name, round(ratios[len(ratios) // 2], 4), round(theirs, 4), round(mine, 4), "s")


@contextmanager
def running_service(model: str) -> Iterator[str]:
    """The service of serve_config.yaml on a port of its own; yields its address. Raises ServiceError when it does not
    start, or where its configuration is not in the current directory."""
    if not CONFIG.is_file():
        raise ServiceError(f"{CONFIG} is not here: run the benchmark where the project's files are")
    directory = Path(tempfile.mkdtemp(prefix="bench-"))  # short: Ray's sockets live in it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["http_options"]["port"] = port
    api = config["applications"][0]["args"]
    api["model"]["name"] = model
    api["store"]["path"] = str(directory / "reports.sqlite3")
    (directory / "serve.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    environment = {**os.environ, "RAY_TMPDIR": str(directory)}
    environment.pop("RAY_ADDRESS", None)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "deployments", str(directory / "serve.yaml")],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url, directory / "log")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until the service is ready; raises ServiceError with the end of its log."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/v1/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise ServiceError(f"the service is not ready within {READY_S:g} s:\n{log.read_text(errors='replace')[-3000:]}")
