"""An audit that is killed, first its driver, then its model's process: the same again goes on, all is there once."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import psutil
import pytest

from medinterp.audit import open_audit
from medinterp.phantom.films import draw_film, sample_film

FILMS, BROKEN = 30, 2
WAIT_S = 300.0
ROOT = Path(__file__).parent.parent


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    rows = []
    for k in range(FILMS):
        name = f"{k}.png"
        if k < BROKEN:
            (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + b"broken" * 20)
        else:
            drawn = draw_film(sample_film(700_000 + k), 192, 192)
            assert cv2.imwrite(str(folder / name), drawn.uint8())
        rows.append((f"case {k}", name, f"patient {k // 2}", "AB"[k % 2]))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "path", "patient_id", "site"), *rows])
    return folder / "table.csv"


def start(*arguments: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "audit_run.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(told: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + WAIT_S
    while not told():
        assert time.monotonic() < ends and process.poll() is None, "the audit ended, or hangs"
        time.sleep(0.05)


def lines(log: Path) -> list[tuple[int, str]]:
    read = [line.split(" ", 1) for line in log.read_text().splitlines()] if log.exists() else []
    return [(int(pid), film) for pid, film in read]


def test_killed_twice_it_reads_every_film_and_keeps_every_row_once(archive: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    films = FILMS - BROKEN

    first = start(archive, out, log)
    try:
        wait_for(lambda: len(lines(log)) >= films // 2, first)
        family = psutil.Process(first.pid).children(recursive=True)
        # Ray's agents try to tell a head that is gone for some minutes, and take no part in anything.
        agents = [one for one in family if "Agent" in " ".join(one.cmdline())]
        first.kill()
        first.wait()
        for agent in agents:
            agent.kill()
        _, alive = psutil.wait_procs(family, timeout=60)
        assert not alive, "Ray's processes outlived the command"
    finally:
        first.kill()
    assert not (out / "manifest.json").exists()
    before = len(lines(log))

    second = start(archive, out, log)
    try:
        wait_for(lambda: len(lines(log)) >= before + films // 4, second)
        os.kill(lines(log)[-1][0], signal.SIGKILL)
        assert second.wait(WAIT_S) == 0
    finally:
        second.kill()

    audit = open_audit(out)
    assert Counter(audit.films(["film_id"])["film_id"].to_pylist()) == {f"case {k}": 1 for k in range(BROKEN, FILMS)}
    assert sorted(audit.failures()["film_id"].to_pylist()) == [f"case {k}" for k in range(BROKEN)]
    assert set(audit.failures()["stage"].to_pylist()) == {"read"}
    rows = [row for batch in audit.words(["film_id", "word"]) for row in batch.to_pylist()]
    words = Counter((row["film_id"], row["word"]) for row in rows)
    assert set(words.values()) == {1} and {film for film, _ in words} == {f"case {k}" for k in range(BROKEN, FILMS)}
    assert len(words) == audit.manifest["words"]
    read = Counter(film for _, film in lines(log))
    assert len(read) == films
    # Each kill costs what was under way just then: two batches of a copy of the model, of one film here.
    assert sum(read.values()) <= films + 2 * 2
