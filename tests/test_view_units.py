"""The page's pure modules by node's own test runner, held against the numbers of the Python side."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medinterp.api.schema import ReportModel
from medinterp.api.schema_packed import PackedMapsModel
from medinterp.relevancy import box_coverage, rank_words, select_map
from medinterp.render import CONTOUR_LEVELS, RenderOptions, canvas, colormap, overlay, scaled
from medinterp.types import Film, MapPack, RelevancyMap, Word
from medinterp.view.packs import packed
from tests.page_reports import every_kind
from tests.programs import program

UNITS = Path(__file__).parent / "page"


def encoded(array: npt.NDArray[Any]) -> str:
    """The array's bytes: floats as float32, little-endian."""
    floats = array.astype("<f4") if array.dtype.kind == "f" else array
    return base64.b64encode(np.ascontiguousarray(floats).tobytes()).decode("ascii")


def drawn(
    name: str, rows: int, columns: int, height: int, width: int, *, signed: bool, opacity: float
) -> dict[str, Any]:
    """A map over a noisy film as rendering draws it, plain and with lines."""
    rng = np.random.default_rng(rows * 100 + columns)
    raw = rng.normal(size=(rows, columns)) if signed else rng.random((rows, columns)) ** 2
    map_ = RelevancyMap("some", raw.astype(np.float32), (0,), signed)
    limits = (-1.5, 1.5) if signed else (0.0, 0.8)
    film = Film(rng.integers(0, 2**16, (height, width), dtype=np.uint16), "image/png", "0")
    colours = "diverging" if signed else "cividis"
    plain, lined = (
        overlay(film, map_, RenderOptions(opacity=opacity, colormap=colours, contours=contours), value_range=limits)
        for contours in (False, True)
    )
    return {
        "name": name,
        "rows": rows,
        "columns": columns,
        "height": height,
        "width": width,
        "signed": signed,
        "opacity": opacity,
        "range": limits,
        "levels": list(CONTOUR_LEVELS),
        "values": encoded(map_.values),
        "shares": encoded(scaled(map_, limits)),
        "colours": encoded(colormap(colours)),
        "gray": encoded(canvas(film)),
        "picture": encoded(plain),
        "lined": encoded(lined),
    }


def pack_of(seed: int, *, signed: bool, additive: bool, sinks: bool, spread: bool) -> MapPack:
    """Maps of twelve tokens, small and large ones."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(12, 5, 4)) if signed else rng.random((12, 5, 4))
    values *= 10.0 ** rng.integers(-4, 1, (12, 1, 1))
    flagged = rng.random((5, 4)) < 0.2 if sinks else None
    disagreement = rng.random((12, 5, 4)).astype(np.float32) if spread else None
    return MapPack("some", values.astype(np.float32), signed, additive, sinks=flagged, disagreement=disagreement)


def words_of(seed: int) -> list[Word]:
    """Seven words of no token to three, in the order of the text."""
    rng = np.random.default_rng(seed)
    counts = [1, 3, 0, 2, 1, 3, 2]
    return [
        Word(k, f"w{k}", k, k + 1, tuple(int(t) for t in rng.choice(12, count, replace=False)), -1.0, 0.1, None, False)
        for k, count in enumerate(counts)
    ]


def answer(pack: MapPack, words: Sequence[Word]) -> dict[str, Any]:
    """What the API answers for a pack."""
    maps = packed(pack, words)
    _, rows, columns = pack.values.shape
    return PackedMapsModel(
        id="0" * 32,
        method=pack.method,
        image=0,
        rows=rows,
        columns=columns,
        signed=pack.signed,
        additive=pack.additive,
        tokens=maps.tokens,
        scale=maps.scale,
        disagreement=maps.disagreement,
        disagreement_scale=maps.disagreement_scale,
        ranges=vars(maps.ranges),
        sinks=pack.sinks,
    ).model_dump(mode="json")


def joined(name: str, seed: int, **kind: bool) -> dict[str, Any]:
    """A pack, the maps of some selections of it, and what some regions of it drove."""
    pack, words = pack_of(seed, **kind), words_of(seed)
    selections: list[dict[str, Any]] = []

    def select(quantity: str, without: bool, map_: npt.NDArray[np.float32]) -> None:
        selections.append({"tokens": tokens, "quantity": quantity, "withoutSinks": without, "map": encoded(map_)})

    for tokens in ([3], [0, 1, 2], [11, 4, 4, 7], list(range(12))):
        for without in (False, True):
            select("relevancy", without, select_map(pack, tokens, without_sinks=without).values)
        spread = select_map(pack, tokens).disagreement
        if spread is not None:
            select("disagreement", False, spread)
    regions = []
    for box in ((0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.35, 0.9)):
        coverage = box_coverage(box, 5, 4)
        for without in (False, True):
            ranked = [vars(word) for word in rank_words(pack, words, coverage, without_sinks=without)]
            regions.append({"coverage": encoded(coverage), "withoutSinks": without, "ranked": ranked})
    return {
        "name": name,
        "answer": answer(pack, words),
        "words": [{"index": word.index, "token_indices": list(word.token_indices)} for word in words],
        "selections": selections,
        "regions": regions,
        "top": float(np.abs(pack.values).max()),
    }


def boxes() -> list[dict[str, Any]]:
    """Boxes on grids of several shapes, some along the cells' edges."""
    rng = np.random.default_rng(8)
    found = []
    for k in range(24):
        rows, columns = (int(n) for n in rng.integers(1, 20, 2))
        left, right = np.sort(rng.random(2))
        top, bottom = np.sort(rng.integers(0, rows + 1, 2) / rows) if k % 2 else np.sort(rng.random(2))
        if top == bottom:
            top, bottom = 0.0, 1.0
        box = [float(edge) for edge in (left, top, right, bottom)]
        coverage = encoded(box_coverage(box, rows, columns))
        found.append({"box": box, "rows": rows, "columns": columns, "coverage": coverage})
    return found


def python_values() -> dict[str, Any]:
    """All that the scripts' tests compare with."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    return {
        "halves": encoded(halves),
        "drawn": [
            drawn("square", 16, 16, 240, 200, signed=False, opacity=0.5),
            drawn("wide", 4, 9, 150, 333, signed=False, opacity=1.0),
            drawn("signed", 16, 16, 211, 160, signed=True, opacity=0.7),
            drawn("one row", 1, 6, 40, 120, signed=True, opacity=0.5),
            drawn("one column", 6, 1, 120, 40, signed=False, opacity=0.3),
            drawn("large, thick lines", 16, 16, 1400, 1100, signed=False, opacity=0.5),
        ],
        "boxes": boxes(),
        "packs": [
            joined("attention", 1, signed=False, additive=False, sinks=True, spread=False),
            joined("occlusion", 2, signed=True, additive=True, sinks=False, spread=False),
            joined("consensus", 3, signed=False, additive=False, sinks=True, spread=True),
            joined("signed mean", 4, signed=True, additive=False, sinks=True, spread=False),
        ],
        "report": ReportModel.model_validate(every_kind()).model_dump(mode="json"),
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What node says of all units, in TAP."""
    node = program("node", "nodejs")
    path = tmp_path_factory.mktemp("units") / "values.json"
    path.write_text(json.dumps(python_values(), allow_nan=False), encoding="utf-8")
    done = subprocess.run(
        [node, "--test", "--test-reporter=tap", *sorted(str(file) for file in UNITS.glob("*.test.js"))],
        env={**os.environ, "MEDINTERP_VALUES": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip(), done.stderr
    return done.stdout


@pytest.mark.parametrize("file", sorted(file.name for file in UNITS.glob("*.test.js")))
def test_every_pure_module_has_its_units(file: str) -> None:
    assert (UNITS.parents[1] / "medinterp/view/static" / file.replace(".test", "")).is_file()


def test_the_scripts_units_pass(told: str) -> None:
    count = {name: int(re.search(rf"^# {name} (\d+)$", told, re.MULTILINE)[1]) for name in ("tests", "pass", "skipped")}  # type: ignore[index]
    assert count["pass"] == count["tests"], told
    assert count["skipped"] == 0
    assert count["tests"] >= 70
