"""An explanation is made again from its provenance, to the same maps."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from medinterp import Explainer
from medinterp.api.store.record import pack_record, unpack_record
from medinterp.cli import main
from medinterp.errors import ModelError
from medinterp.evaluation.repeating import MAP_TOLERANCE, Repeated
from medinterp.explanation import Explanation
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film
from medinterp.relevancy import METHODS
from medinterp.types import Film
from tests.api_films import dicom

TOKENS = 4
OPTIONS = {"occlusion": {"block": 4}, "raw": {"layer": 1}}


def pixels(k: int) -> np.ndarray:
    return draw_film(sample_film(TEST_SEEDS_START + k), 300, 320).uint8()


def png(k: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(k)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained("phantom", device="cpu", check=False)


@pytest.fixture(scope="module")
def every(explainer: Explainer) -> Explanation:
    """By every method of the registry, as the store keeps it."""
    made = explainer.explain(png(1), methods=list(METHODS), options=OPTIONS, max_new_tokens=TOKENS)
    return unpack_record(pack_record(made))


def same(repeated: Repeated, methods: Any) -> None:
    assert repeated.equal, repeated
    assert set(repeated.maps) == set(methods)
    assert repeated.versions == {}


def test_every_method(explainer: Explainer, every: Explanation) -> None:
    repeated = explainer.again(every)
    same(repeated, METHODS)
    assert max(repeated.maps.values()) == repeated.logprob == 0.0, "alone and alone: to the bit"


def test_a_prior_film(explainer: Explainer) -> None:
    methods = ["layer_weighted", "consensus", "edge_gradient"]
    made = explainer.explain(png(1), prior=png(2), methods=methods, max_new_tokens=TOKENS)
    repeated = explainer.again(unpack_record(pack_record(made)))
    same(repeated, methods)
    assert set(repeated.prior_maps) == set(methods) and max(repeated.prior_maps.values()) == 0.0


def test_a_report_that_was_written_beside_others(explainer: Explainer) -> None:
    """By the service's writer: rows of three reports in one kernel, then of one."""
    many = Explainer(explainer.loaded, max_slots=3)
    methods = ["layer_weighted", "value_weighted", "attention_flow", "consensus", "edge_gradient"]
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda k: many.explain(png(k), methods=methods, max_new_tokens=TOKENS), (1, 3, 4)))
    for one in made:
        same(explainer.again(one), methods)


def test_a_given_report(explainer: Explainer) -> None:
    made = explainer.explain(png(1), report="LUNGS: No nodule.", methods=["raw", "head_importance", "input_x_gradient"])
    same(explainer.again(made), made.packs)


def test_a_dicom_with_a_window_read_by_force(explainer: Explainer) -> None:
    dataset = pydicom.dcmread(io.BytesIO(dicom(300, 320)))
    dataset.WindowCenter, dataset.WindowWidth = [32768, 20000], [65536, 30000]
    file = io.BytesIO()
    dataset.save_as(file)
    made = explainer.explain(file.getvalue(), window="window-2", force=True, max_new_tokens=TOKENS)
    assert made.film.window == "window-2"
    same(explainer.again(unpack_record(pack_record(made))), made.packs)


def test_a_report_that_was_drawn(explainer: Explainer) -> None:
    made = explainer.explain(png(1), methods=["raw"], max_new_tokens=TOKENS, temperature=20.0, seed=11)
    assert made.provenance.temperature == 20.0
    same(explainer.again(made), ["raw"])
    greedy = replace(made, provenance=replace(made.provenance, temperature=0.0))
    assert not explainer.again(greedy).text


def test_what_is_different_is_told(explainer: Explainer, every: Explanation) -> None:
    pack = every.packs["raw"]
    values = pack.values.copy()
    values[0, 3, 3] += 2 * MAP_TOLERANCE * values.max()
    off = explainer.again(replace(every, packs={"raw": replace(pack, values=values)}))
    assert not off.equal and off.maps["raw"] > MAP_TOLERANCE
    other = replace(every, film=Film(pixels(8), "image/png", "other"), packs={"raw": pack})
    assert not explainer.again(other).equal
    old = replace(every.provenance, library_versions={**every.provenance.library_versions, "numpy": "1.0"})
    versions = explainer.again(replace(every, provenance=old, packs={"raw": pack})).versions
    assert versions["numpy"][0] == "1.0"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_revision": "fingerprint:0"}, "at revision fingerprint:0"),
        ({"dtype": "bfloat16"}, "computed in bfloat16"),
        ({"image_first": False}, "image_first"),
        ({"layer_weights_sha256": None}, "calibration"),
        ({"prompt_sha256": "0"}, "rendered otherwise"),
    ],
)
def test_another_model_is_refused(
    explainer: Explainer, every: Explanation, change: dict[str, Any], told: str
) -> None:
    changed = replace(every, provenance=replace(every.provenance, **change), packs={"raw": every.packs["raw"]})
    with pytest.raises(ModelError, match=told):
        explainer.again(changed)


def test_the_command(
    explainer: Explainer, every: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    loaded: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **options: Any) -> Explainer:
        loaded.append((name, options))
        return explainer

    monkeypatch.setattr(Explainer, "from_pretrained", load)
    raw = replace(every, packs={"raw": every.packs["raw"]})
    (tmp_path / "explanation.msgpack").write_bytes(pack_record(raw))
    assert main(["again", str(tmp_path), "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "raw: 0 of its largest value apart at most" in told and "\nequal\n" in told
    expected = {"dtype": "float32", "image_first": True, "quantization": None, "calibration": "auto", "device": "cpu"}
    assert loaded == [("phantom", expected)]
    assert (tmp_path / "out" / "report.html").is_file()
    assert main(["again", str(tmp_path / "out" / "report.json")]) == 2
    assert "report.json has no film" in capsys.readouterr().err
    other = replace(raw, provenance=replace(raw.provenance, model_revision="fingerprint:0"))
    (tmp_path / "explanation.msgpack").write_bytes(pack_record(other))
    assert main(["again", str(tmp_path)]) == 2
    assert "bring back the revision" in capsys.readouterr().err


def test_an_uncalibrated_model_says_so(explainer: Explainer) -> None:
    """Until `calibrate` was run: on the maps that learned weights would be in, and nowhere else."""
    bare = Explainer(replace(explainer.loaded, layer_weights=None))
    made = bare.explain(png(1), methods=["layer_weighted", "consensus", "raw"], max_new_tokens=4)
    assert any("uncalibrated" in note for note in made.packs["layer_weighted"].notes)
    assert any("uncalibrated" in note for note in made.packs["consensus"].notes)
    assert not any("uncalibrated" in note for note in made.packs["raw"].notes)
    with pytest.raises(ModelError, match="calibration"):
        explainer.again(made)
