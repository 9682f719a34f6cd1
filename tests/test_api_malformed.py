"""Uploads broken in every way: an answer that says so, never a defect, an address in memory or a patient's name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import httpx
import numpy as np
import psutil
import pytest

from medinterp.imaging import FilmLimits
from medinterp.imaging.workers import DecodingLimits, DecodingPool
from tests.api_films import PATIENT, dicom, raster
from tests.api_service import Service
from tests.damage import damaged

KINDS = {"PNG": raster, "JPEG": raster, "TIFF": raster, "DICOM": lambda _: dicom()}
DAMAGED = 130
"""Of each kind of film."""
BROKEN_FORMS = 130
HEAP_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
NAMES = [*PATIENT.lower().split("^"), "zzyzx"]
KEPT_BYTES = 48 * 2**20


def films() -> Iterator[tuple[str, bytes]]:
    """Damaged films; each seed the same."""
    for kind, draw in KINDS.items():
        for seed in range(DAMAGED):
            yield f"{kind} {seed}", damaged(draw(kind), seed)[1]


def forms() -> Iterator[tuple[str, bytes, str]]:
    """Whole bodies, damaged in their framing as well as in what they hold, and headers that do not go with them."""
    request = httpx.Request(
        "POST",
        "http://test",
        files={"image": (f"{PATIENT}.dcm", raster("PNG"), "application/dicom")},
        data={"prompt": "Look.", "methods": ["raw", "raw"], "max_new_tokens": "5", "window": "full", "force": "1"},
    )
    body, content_type = request.read(), request.headers["content-type"]
    for seed in range(BROKEN_FORMS):
        rng = np.random.default_rng([seed, 0xF0])
        changed = bytearray(body)
        # The framing is a few hundred bytes of some ten thousand: it is hit on purpose.
        framing = [place.start() for place in re.finditer(rb"--|\r\n|name=|Content|;|:|\"", body)]
        for _ in range(int(rng.integers(1, 4))):
            place = min(len(changed) - 1, int(rng.choice(framing)))
            match int(rng.integers(5)):
                case 0:
                    changed[place] = int(rng.integers(256))
                case 1:
                    del changed[place : place + int(rng.integers(1, 40))]
                case 2:
                    changed[place:place] = bytes(rng.integers(0, 256, int(rng.integers(1, 40)), dtype=np.uint8))
                case 3:
                    changed[place:place] = changed[place : place + int(rng.integers(1, 400))]
                case 4:
                    del changed[max(1, place) :]
        header = content_type
        if seed % 10 == 0:
            header = damaged(content_type.encode(), seed)[1].decode("latin-1").replace("\r", "").replace("\n", "")
        yield f"form {seed}", bytes(changed), header


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    pool = DecodingPool(FilmLimits(), DecodingLimits(cpu_s=5))
    service = Service(tmp_path_factory.mktemp("malformed"), pool=pool, store_bytes=2**22, max_upload_bytes=2**20)
    with service.client:
        yield service


def test_no_malformed_upload_is_a_defect(service: Service) -> None:
    count = 4 * DAMAGED + BROKEN_FORMS
    assert count >= 556
    uploads: list[tuple[str, httpx.Request]] = [
        (name, service.client.build_request("POST", "/reports", files={"image": (f"{PATIENT}.dcm", data)}))
        for name, data in films()
    ]
    uploads += [
        (
            name,
            service.client.build_request(
                "POST", "/reports", content=body, headers={"Content-Type": header.encode("latin-1")}
            ),
        )
        for name, body, header in forms()
    ]
    assert len(uploads) == count
    process = psutil.Process()
    statuses: Counter[int] = Counter()
    defects: list[tuple[str, int, str]] = []
    before = 0
    for k, (name, request) in enumerate(uploads):
        answer = service.client.send(request)
        statuses[answer.status_code] += 1
        told = answer.text.lower()
        if answer.status_code >= 500 or HEAP_ADDRESS.search(told) or any(part in told for part in NAMES):
            defects.append((name, answer.status_code, answer.text[:300]))
        if answer.status_code == 201:
            service.client.delete(f"/reports/{answer.json()['id']}")
        else:
            assert answer.headers["content-type"] == "application/problem+json", name
        if k == 100:
            before = process.memory_info().rss
    assert defects == []
    assert set(statuses) <= {201, 400, 413, 415, 422}
    assert statuses[400] > count / 4
    assert process.memory_info().rss - before < KEPT_BYTES


def test_names_are_nowhere_in_an_answer_or_the_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Of whole films too."""
    with caplog.at_level("DEBUG"):
        for kind, draw in KINDS.items():
            data = draw(kind)
            assert kind == "PNG" or any(part.encode() in data.lower() for part in NAMES)
            answer = service.post(image=data, force="true")
            assert answer.status_code == 201, answer.text
            assert not any(part in answer.text.lower() for part in NAMES)
            service.post(image=data[: len(data) // 2])
    assert not any(part in caplog.text.lower() for part in NAMES)
