"""Readers who look at pictures raise rendering and not generation, and it falls again: by Serve's own status."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np

from tests.faults.client import Client
from tests.faults.films import film
from tests.faults.service import deployment, service
from tests.faults.table import print_table
from tests.served import ROOT, Served

READERS = 30
LOOKING_S = 40.0
AFTER_S = 40.0
NAMES = ("api", "generation", "relevancy", "rendering")
ASKING = """
import json, logging, sys, time
import ray
from ray import serve
ray.init(address="auto", namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
while True:
    found = serve.status().applications["api"].deployments
    counts = {name: one.replica_states.get("RUNNING", 0) for name, one in found.items()}
    print(json.dumps([time.time(), counts]), flush=True)
    time.sleep(1)
"""


def scaling() -> None:
    """Print the table."""

    def quick(config: dict[str, Any]) -> None:
        for name in NAMES:
            scales = deployment(config, name)["autoscaling_config"]
            scales |= {"upscale_delay_s": 3, "downscale_delay_s": 10, "look_back_period_s": 5, "metrics_interval_s": 1}

    often = {"RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1"}
    with service(quick, often) as served:
        client = Client(served.url)
        answer = client.ask("POST", "/v1/reports", files={"image": ("film.png", film(0), "image/png")})
        place, words = f"/v1/reports/{answer.json()['id']}", len(answer.json()["report"]["words"])
        seen: list[tuple[float, dict[str, int]]] = []
        with subprocess.Popen(
            [sys.executable, "-c", ASKING], cwd=ROOT, env=served.environment, stdout=subprocess.PIPE, text=True
        ) as asking:
            threading.Thread(target=follow, args=(asking, seen), daemon=True).start()
            while not seen:
                time.sleep(0.2)
            began = time.time()
            pictures = look(served, place, words)
            looked = time.time()
            time.sleep(AFTER_S)
            asking.kill()
    phases = {
        "before": [counts for when, counts in seen if when < began + 1],
        f"while {READERS} readers look at pictures ({pictures / (looked - began):.0f} a second)": [
            counts for when, counts in seen if began + 1 <= when < looked
        ],
        f"{AFTER_S:g} s later": [seen[-1][1]],
    }
    print_table(
        "Replicas by Serve's status, the most of each (delays of 3 s up and 10 s down in this run)",
        ("", *NAMES),
        ((phase, *(max(one[name] for one in counts) for name in NAMES)) for phase, counts in phases.items()),
    )


def follow(asking: subprocess.Popen[str], seen: list[tuple[float, dict[str, int]]]) -> None:
    """Take down what Serve says."""
    assert asking.stdout is not None
    for line in asking.stdout:
        if line.startswith("["):
            when, counts = json.loads(line)
            seen.append((when, counts))


def look(served: Served, place: str, words: int) -> int:
    """Readers who each want another picture all the time. Returns how many they got."""
    end, got = time.monotonic() + LOOKING_S, [0] * READERS

    def go(number: int) -> None:
        client, random = Client(served.url), np.random.default_rng(number)
        while time.monotonic() < end:
            asked = {"opacity": round(float(random.uniform(0.1, 1)), 3), "size": 1500}
            answer = client.ask("GET", f"{place}/words/{random.integers(words)}/overlay.png", params=asked)
            got[number] += answer.status_code == 200
        client.close()

    threads = [threading.Thread(target=go, args=(number,)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(got)
