"""Overlays: on one core with the film kept and without, and by the whole service."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np

from medinterp.errors import ServiceError
from medinterp.evaluation.speed.line import BenchLine, interleaved
from medinterp.types import Film, RelevancyMap

WIDTH, HEIGHT, PICTURES = 1500, 1200, 48


def overlay_lines() -> list[BenchLine]:
    """The line of one core, from a process of its own that has no other."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", "from medinterp.evaluation.speed.pictures import main; main()"],
        env={**os.environ, **one},
        check=True,
        capture_output=True,
        text=True,
    )
    return [BenchLine(**json.loads(line)) for line in done.stdout.splitlines()]


def served_lines(client: httpx.Client, tokens: int, label: str) -> list[BenchLine]:
    """Overlays of one report's words by the service, four at once beside one after the other, in pictures a second.

    Raises ServiceError when a report or a picture does not come.
    """
    form = {"max_new_tokens": str(tokens)}
    made = client.post("/v1/reports", files={"image": ("film.png", film_png())}, data=form)
    if made.status_code != 201:
        raise ServiceError(f"the service answered {made.status_code}")
    words = len(made.json()["report"]["words"])
    paths = [f"/v1/reports/{made.json()['id']}/words/{k % words}/overlay.png" for k in range(PICTURES)]

    def fetch(path: str) -> int:
        answer = client.get(path)
        if answer.status_code != 200:
            raise ServiceError(f"the service answered {answer.status_code}")
        return len(answer.content)

    with ThreadPoolExecutor(4) as pool:
        seconds = interleaved(
            {"in turn": lambda: [fetch(path) for path in paths], "at once": lambda: list(pool.map(fetch, paths))}, 3
        )
    turn, once = (PICTURES / float(np.median(seconds[name])) for name in ("in turn", "at once"))
    name = f"overlays of {WIDTH} x {HEIGHT} by the service, four at once / in turn ({label})"
    return [BenchLine(name, round(once / turn, 4), round(turn, 2), round(once, 2), "a second")]


def film_png() -> bytes:
    """A synthetic film as a 16-bit PNG file."""
    from medinterp.phantom.films import draw_film, sample_film
    from medinterp.render import encode_png

    return encode_png(draw_film(sample_film(10_000_000), WIDTH, HEIGHT).uint16())


def main() -> None:
    """Measure on one core and print a JSON line for each line of the benchmark."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import cv2

    from medinterp.render import RenderOptions, canvas, encode_png, overlay

    cv2.setNumThreads(1)
    stored = np.frombuffer(film_png(), np.uint8)
    values = np.random.default_rng(0).random((16, 16)).astype(np.float32) ** 4
    word = RelevancyMap("random", values, (0,), False)

    def film() -> Film:
        """As the store has it."""
        return Film(cv2.imdecode(stored, cv2.IMREAD_UNCHANGED), "image/png", "0")  # type: ignore[arg-type]

    kept, plain, lined = film(), RenderOptions(), RenderOptions(contours=True)
    base = canvas(kept)
    seconds = interleaved(
        {
            "kept": lambda: encode_png(overlay(kept, word, plain, base=base)),
            "lined": lambda: encode_png(overlay(kept, word, lined, base=base)),
            "anew": lambda: encode_png(overlay(film(), word, plain)),
        },
        7,
    )
    quick, contoured, slow = (float(np.median(seconds[run])) for run in ("kept", "lined", "anew"))
    where = f"{WIDTH} x {HEIGHT}, PNG of {len(encode_png(overlay(kept, word, plain))) / 1e6:.1f} MB, one core"
    for line in (
        BenchLine(f"an overlay, film kept / decoded anew ({where})", quick / slow, slow, quick, "s"),
        BenchLine(f"an overlay with contours / without ({where})", contoured / quick, quick, contoured, "s"),
    ):
        rounded = {name: round(v, 5) if isinstance(v, float) else v for name, v in dataclasses.asdict(line).items()}
        print(json.dumps(rounded))


if __name__ == "__main__":
    main()
