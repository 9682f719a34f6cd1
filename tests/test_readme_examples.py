"""Every curl command of the README, and its example of OpenAI's protocol, against the service."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.api_backend import png
from tests.listening import Listening, listening

README = (Path(__file__).parent.parent / "README.md").read_text()
CURL = [
    command
    for block in re.findall(r"```sh\n(.*?)```", README, re.S)
    for command in re.sub(r"\\\n\s*", "", block).splitlines()
    if command.startswith("curl ")
]
SAMPLES = {"layer_weighted": "raw", '"3-7"': '"0-2"', '"words": "3"': '"words": "1"', "/words/3/": "/words/1/"}
"""The fake backend has one method, and a report of three words."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("service"), store_bytes=50_000_000) as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film-7.png").write_bytes(png())
    return tmp_path


def test_the_readme_has_examples() -> None:
    assert len(CURL) >= 10


@pytest.mark.parametrize("command", CURL, ids=range(len(CURL)))
def test_curl(served: Listening, folder: Path, command: str) -> None:
    report = served.service.post().json()["id"]
    command = command.replace("http://127.0.0.1:8000", served.url).replace("/ID/", f"/{report}/")
    for one, other in SAMPLES.items():
        command = command.replace(one, other)
    script = f'curl() {{ command curl -sS --noproxy "*" --fail-with-body "$@"; }}\n{command}'
    done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    if "-o word.png" in command:
        assert cv2.imread(str(folder / "word.png")).shape == (40, 60, 3)
    else:
        assert done.stdout.startswith(("{", "event: "))


def test_openai(served: Listening, folder: Path) -> None:
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", README, re.S) if "openai.OpenAI(" in text)
    for one, other in (("http://127.0.0.1:8000", served.url), ('"phantom"', '"sample"'), ("layer_weighted", "raw")):
        block = block.replace(one, other)
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PLEURA: No effusion.") and "'image_mass': 0.5" in done.stdout
