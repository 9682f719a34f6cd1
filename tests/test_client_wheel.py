"""The wheel with the extra `client` alone, in an environment of its own: README's program runs there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from uv import find_uv_bin

from tests.api_backend import png
from tests.listening import Listening, listening

ROOT = Path(__file__).parent.parent
ABSENT = ("torch", "ray", "opencv-python-headless", "pydantic", "gradio", "pillow", "matplotlib", "pydicom", "openai")


def run(*command: object, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A command that knows nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run([str(one) for one in command], cwd=cwd, env=kept, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel and its extra `client`."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    uv = find_uv_bin()
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    run(uv, "pip", "install", "--quiet", "--python", python, "-c", constraints, f"{wheel}[client]", cwd=folder)
    return python


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("service")) as served:
        yield served


def test_no_model_no_service_no_decoder_is_brought_along(python: Path) -> None:
    listed = run(find_uv_bin(), "pip", "list", "--python", python, "--format", "json", cwd=python.parent).stdout
    names = {package["name"] for package in json.loads(listed)}
    assert {"medinterp", "httpx", "numpy", "msgpack"} <= names
    assert not names & set(ABSENT)
    assert len(names) <= 12


def test_readmes_program(python: Path, served: Listening, tmp_path: Path) -> None:
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
                if "medinterp.Client(" in text)  # fmt: skip
    assert len(block.strip().splitlines()) <= 10
    program = block.replace("http://127.0.0.1:8000", served.url).replace('"lungs"', '"effusion"')
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film-7.png").write_bytes(png())
    (tmp_path / "program.py").write_text(program)
    answer = run(python, "-W", "error", "program.py", cwd=tmp_path).stdout
    assert "PLEURA: No effusion." in answer and "Driven by this region." in answer
    assert answer.count("[") == 5  # a map of four rows
    assert cv2.imread(str(tmp_path / "word.png")).shape == (40, 60, 3)
    assert not served.store.usage().reports


def test_the_command_line_says_what_it_lacks(python: Path, tmp_path: Path) -> None:
    told = run(python.parent / "medinterp", "explain", "film.png", "--out", "out", cwd=tmp_path, status=2).stderr
    assert re.fullmatch(r"medinterp: the package [\w.]+ is not installed: pip install 'medinterp\[model\]'\n", told)
