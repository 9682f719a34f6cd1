"""Imports point down only, and heavy libraries stay where they belong."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RANK = {
    "types": -1,
    "errors": 0,
    "stages": 0,
    "phantom": 1,
    "imaging": 2,
    "report": 2,
    "model": 3,
    "relevancy": 3,
    "render": 3,
    "view": 4,
    "web": 4,
    "evaluation": 4,
    "export": 5,
    "explanation": 6,
    "explainer": 7,
    "audit": 8,
    "ui": 8,
    "api": 8,
    "client": 9,
    "cli": 9,
}
NO_TORCH = (
    *("types", "errors", "stages", "imaging", "report", "relevancy", "render", "view", "web", "export", "explanation"),
    *("api", "ui", "client"),
)
BESIDE = {"client": ("types", "errors")}
"""What a part imports of the others, where that is less than all below it: the client runs without their packages."""
FILES = sorted((ROOT / "medinterp").rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(ROOT / "medinterp").parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            if node.module == "medinterp":
                yield from (f"medinterp.{alias.name}" for alias in node.names)


def test_every_part_has_a_layer() -> None:
    assert {layer_of(path) for path in FILES} - {"__init__"} == set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(path)
    for name in imported(path):
        top, _, rest = name.partition(".")
        assert top != "deployments", f"{name}: what is served stands on the package"
        assert top != "ray" or layer == "audit", f"{name}: only deployments/ and the audit import ray"
        if layer in NO_TORCH:
            assert top not in ("torch", "transformers"), f"{name} in {layer}: no torch here"
        if top == "medinterp" and rest and layer != "__init__":
            other = rest.partition(".")[0]
            if other in RANK and other != layer:
                below = RANK[other] < RANK[layer]
                assert other in BESIDE.get(layer, RANK), f"{layer} imports {other}, whose packages it does without"
                assert below, f"{layer} imports {other}, which does not stand below it"


def test_importing_the_package_is_light() -> None:
    script = "import sys, medinterp; print(sorted({'torch', 'ray', 'gradio', 'cv2'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_the_client_needs_neither_the_model_nor_the_service_nor_what_films_are_decoded_with() -> None:
    heavy = "torch ray gradio cv2 pydantic PIL matplotlib pydicom regex fastapi openai"
    script = f"import sys, medinterp; medinterp.Client; print(sorted(set({heavy.split()}) & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"


def test_relevancy_and_rendering_replicas_never_load_torch() -> None:
    script = "import sys, medinterp.relevancy, medinterp.render, deployments.relevancy, deployments.rendering\n"
    script += "print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "False"
