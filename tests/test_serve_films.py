"""Films over the Ray Serve graph: decoded in processes of their own, withheld, and seen as the model gets them."""

from __future__ import annotations

import functools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import httpx
import numpy as np
import psutil

from medinterp.phantom.films import draw_film, sample_film
from tests.api_backend import png
from tests.served import Served
from tests.test_serve_graph import EVENTS, post


@functools.cache
def inverted(width: int, height: int, times: int = 1) -> bytes:
    """A film that the gate withholds, each pixel repeated to a square."""
    pixels = np.uint16(65535) - draw_film(sample_film(3), width, height).uint16()
    return bytes(cv2.imencode(".png", pixels.repeat(times, 0).repeat(times, 1), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1])


def workers(served: Served) -> list[psutil.Process]:
    children = served.replica("api:api").children(recursive=True)
    return [child for child in children if "medinterp.imaging.worker" in " ".join(child.cmdline())]


def send(served: Served, data: bytes, **form: Any) -> httpx.Response:
    return served.client.post("/v1/reports", files={"image": ("film.png", data)}, data={"max_new_tokens": 4, **form})


def test_films_are_decoded_in_processes_that_stand_back(served: Served) -> None:
    assert post(served, 2).status_code == 201
    nice = min(19, served.replica("api:api").nice() + 10)  # Ray's own workers are nice already
    assert [worker.nice() for worker in workers(served)] == [nice, nice]


def test_a_film_is_withheld_unless_it_is_forced(served: Served) -> None:
    answer = send(served, inverted(160, 200))
    assert answer.status_code == 422, answer.text
    assert [flaw["where"] for flaw in answer.json()["flaws"]] == ["image.inverted"]
    forced = send(served, inverted(160, 200), force="true")
    assert forced.status_code == 201, forced.text
    assert [warning["code"] for warning in forced.json()["film"]["warnings"]] == ["inverted"]
    streamed = served.client.post("/v1/reports", files={"image": ("film.png", inverted(160, 200))}, headers=EVENTS)
    assert streamed.status_code == 422, "before the first event"


def test_the_film_as_the_model_gets_it(served: Served) -> None:
    place = f"/v1/reports/{post(served, 2).json()['id']}/film.png"
    answer = served.client.get(place, params={"view": "model"})
    assert answer.status_code == 200, answer.text
    view = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert view.shape == (128, 128)
    film = cv2.imdecode(np.frombuffer(served.client.get(place).content, np.uint8), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(film, (128, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - view).mean() < 8
    unknown = served.client.get(f"/v1/reports/{'0' * 32}/film.png", params={"view": "model"})
    assert unknown.status_code == 404


def test_ready_while_the_largest_films_are_decoded(served: Served) -> None:
    """Eight of 8,064 x 8,064 pixels in a megabyte each, four times as many as there are workers.

    On a machine whose two cores decode, a process may wait for a core: nine answers of ten come within half a second,
    and none waits for a film.
    """
    large = inverted(252, 252, times=32)
    assert len(large) < 2_000_000
    assert post(served, 2).status_code == 201
    with ThreadPoolExecutor(8) as pool, httpx.Client(base_url=served.url, timeout=60) as client:
        sent = [pool.submit(send, served, large) for _ in range(8)]
        seconds = []
        while not all(one.done() for one in sent):
            started = time.monotonic()
            assert client.get("/v1/readyz").status_code == 200
            seconds.append(time.monotonic() - started)
            time.sleep(0.05)
    codes = [one.result().json()["flaws"][0]["where"] for one in sent]
    assert codes == ["image.inverted"] * 8
    assert len(seconds) > 10
    assert float(np.quantile(seconds, 0.9)) <= 0.5, seconds
    assert max(seconds) <= 2, seconds


def test_workers_end_with_their_replica(served: Served) -> None:
    before = workers(served)
    served.replica("api:api").kill()
    _, left = psutil.wait_procs(before, timeout=10)
    assert left == []
    time.sleep(1)
    served.wait_until_ready()
    assert send(served, png(300, 250)).status_code == 201
    assert len(workers(served)) == 2
