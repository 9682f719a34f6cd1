"""The README's example of OpenAI's protocol, against the service (its curl commands: test_api_docs)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api_backend import png
from tests.listening import Listening, listening

README = (Path(__file__).parent.parent / "README.md").read_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    with listening(tmp_path_factory.mktemp("service"), store_bytes=50_000_000) as served:
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "film-7.png").write_bytes(png())
    return tmp_path


def test_openai(served: Listening, folder: Path) -> None:
    (block,) = (text for text in re.findall(r"```python\n(.*?)```", README, re.S) if "openai.OpenAI(" in text)
    for one, other in (("http://127.0.0.1:8000", served.url), ('"phantom"', '"sample"'), ("layer_weighted", "raw")):
        block = block.replace(one, other)
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("PLEURA: No effusion.") and "'image_mass': 0.5" in done.stdout
