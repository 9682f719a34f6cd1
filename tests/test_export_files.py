"""The JSON document and the numpy archive."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import pytest

from medinterp import export
from medinterp.export.folder import write_folder
from medinterp.types import Alternative, FilmWarning, ImageSpan, WindowChoice
from tests.api_samples import SPANS, TEXT, given_explanation, sample_explanation
from tests.report_samples import all_kinds_explained
from tests.sources_samples import sample_reliance, sample_text_sources
from tests.traces import make_trace


def test_the_document_holds_all_but_the_maps() -> None:
    sample = sample_explanation()
    record = json.loads(json.dumps(export.document(sample), allow_nan=False))
    assert record["text"] == TEXT and record["complete"] is True
    assert record["words"][1] == {
        "index": 1,
        "text": "effusion",
        "start": 11,
        "end": 19,
        "token_indices": [2, 3],
        "logprob": -1.25,
        "image_mass": 0.25,
        "section": "PLEURA",
        "unlikely": False,
    }
    assert [(token["start"], token["end"]) for token in record["tokens"]] == list(SPANS)
    assert record["tokens"][2]["alternatives"] == [{"text": "x", "logprob": -1.5}, {"text": "y", "logprob": -2.0}]
    assert record["findings"][0]["name"] == "pleural effusion" and record["findings"][0]["status"] == "absent"
    assert record["mentions"] == record["sentences"] == record["thinking"] == []
    assert [section["name"] for section in record["sections"]] == ["PLEURA", "HEART"]
    (method,) = record["methods"]
    assert method == {
        "name": "raw",
        "signed": False,
        "additive": False,
        "notes": ["last layer"],
        "members": [],
        "image": 0,
    }
    assert record["grid"] == {"rows": 4, "columns": 4}
    assert record["film"]["width"] == 60 and record["film"]["height"] == 40
    assert record["provenance"]["library_versions"] == {"numpy": np.__version__}
    assert record["provenance"]["layer_types"] == ["sliding_attention", "full_attention"]


def test_the_document_holds_the_text_sources_that_were_asked_for() -> None:
    sample = sample_explanation()
    assert export.document(sample)["text_sources"] == []
    kept = dataclasses.replace(sample, text_sources=(sample_text_sources(),))
    (found,) = json.loads(json.dumps(export.document(kept), allow_nan=False))["text_sources"]
    assert set(found) == {field.name for field in dataclasses.fields(sample_text_sources())}
    assert found["token_indices"] == [2, 3]
    assert found["film_gradient"] == [1.5, -0.5]
    assert found["prompt_spans"] == [[0, 8], [9, 12], [13, 17]]
    assert found["report_gradient"] == [-2.0, 0.25, 0.0]


def test_the_document_holds_the_reliance_that_was_asked_for() -> None:
    sample = sample_explanation()
    assert export.document(sample)["reliance"] is None
    reliance = sample_reliance()
    nobody = dataclasses.replace(reliance, reliance=np.array([0.5, np.nan, 0.0], np.float32))
    kept = dataclasses.replace(sample, reliance=nobody)
    found = json.loads(json.dumps(export.document(kept), allow_nan=False))["reliance"]
    assert found == {
        "fills": ["blank", "one", "other"],
        "logprob": [-0.25, -1.25, -1.5],
        "blank_drop": [0.0, 2.5, 0.25],
        "swap_drops": [[0.5, 3.0, -0.125], [-0.25, 4.5, 0.0]],
        "reliance": [0.5, None, 0.0],
    }


def test_the_document_says_how_sure_the_report_is() -> None:
    record = json.loads(json.dumps(export.document(all_kinds_explained()), allow_nan=False))
    nodule = record["findings"][0]
    assert (nodule["status"], nodule["zones"], nodule["change"]) == ("uncertain", ["upper"], None)
    assert record["text"][slice(*nodule["hedge"])] == "may represent"
    assert record["findings"][2]["change"] == "larger"
    assert [(one["name"], one["role"]) for one in record["mentions"]] == [("pneumothorax", "history")]
    assert [one["reading"] for one in record["sentences"]].count("unread") == 1
    (thinking,) = record["thinking"]
    assert "The left base is dim." in record["text"][thinking["start"] : thinking["end"]]


def test_the_document_says_that_a_report_was_given_and_what_the_model_would_hardly_write() -> None:
    record = export.document(given_explanation("No zebra."))
    assert record["provenance"]["given"] is True
    assert [(word["text"], word["unlikely"]) for word in record["words"]] == [("No", False), ("zebra", True)]


def test_the_document_says_that_an_engine_wrote_and_where_its_tokens_differ() -> None:
    sample = sample_explanation()
    told = {"writer": "m", "tokens_compared": True, "retokenised_at": 0}
    record = export.document(dataclasses.replace(sample, provenance=dataclasses.replace(sample.provenance, **told)))
    assert {name: record["provenance"][name] for name in told} == told


def test_a_folder_has_an_overlay_of_what_is_present_or_uncertain(tmp_path: Path) -> None:
    explanation = all_kinds_explained()
    written = write_folder(explanation, tmp_path / "out")
    assert [path.name for path in written] == [
        "report.json",
        "maps.npz",
        "report.html",
        "finding-0-nodule-raw.png",
        "finding-1-consolidation-raw.png",
        "finding-2-pleural-effusion-raw.png",
    ]
    assert set(written) == set((tmp_path / "out").iterdir())
    shown = cv2.imread(str(written[3]), cv2.IMREAD_COLOR)
    assert shown is not None and (shown.max(axis=-1) > shown.min(axis=-1)).any(), "the map is drawn"


def test_the_document_says_all_of_the_films_but_their_pictures() -> None:
    sample = sample_explanation()
    assert export.document(sample)["prior"] is None
    prior = dataclasses.replace(
        sample.film,
        warnings=(FilmWarning("inverted", "The film is inverted.", withholds=True),),
        windows=(WindowChoice("full", "no window"),),
        window="full",
    )
    record = json.loads(json.dumps(export.document(dataclasses.replace(sample, prior=prior)), allow_nan=False))
    assert record["film"] == {
        "width": 60,
        "height": 40,
        "bits": 16,
        "spacing": None,
        "sides_told": False,
        "media_type": "image/png",
        "sha256": "ab" * 32,
        "notes": ["16 bit"],
        "warnings": [],
        "window": None,
        "windows": [],
    }
    assert record["prior"] == record["film"] | {
        "warnings": [{"code": "inverted", "text": "The film is inverted.", "withholds": True}],
        "window": "full",
        "windows": [{"name": "full", "label": "no window"}],
    }


def test_what_was_not_measured_is_null_and_not_a_number_that_json_lacks() -> None:
    sample = sample_explanation()
    word = dataclasses.replace(sample.report.words[0], image_mass=float("nan"))
    token = dataclasses.replace(sample.report.tokens[0], alternatives=(Alternative("x", float("-inf")),))
    report = dataclasses.replace(sample.report, words=(word,), tokens=(token,))
    provenance = dataclasses.replace(sample.provenance, library_versions=MappingProxyType({"numpy": "2"}))
    record = export.document(dataclasses.replace(sample, report=report, provenance=provenance))
    text = json.dumps(record, allow_nan=False)
    assert json.loads(text)["words"][0]["image_mass"] is None
    assert json.loads(text)["tokens"][0]["alternatives"] == [{"text": "x", "logprob": None}]
    assert json.loads(text)["provenance"]["library_versions"] == {"numpy": "2"}


def test_a_report_without_maps_has_no_grid_and_two_grids_are_refused() -> None:
    sample = sample_explanation()
    assert export.document(dataclasses.replace(sample, packs={}))["grid"] is None
    other = dataclasses.replace(sample.packs["raw"], method="other", values=np.zeros((8, 2, 3), np.float32))
    with pytest.raises(ValueError, match="one grid"):
        export.document(dataclasses.replace(sample, packs={**sample.packs, "other": other}))


def test_the_archive_holds_every_methods_maps_unchanged() -> None:
    sample = sample_explanation()
    with np.load(io.BytesIO(export.npz(sample)), allow_pickle=False) as archive:
        assert archive.files == ["raw", "export"]
        assert archive["raw"].dtype == np.float32
        np.testing.assert_array_equal(archive["raw"], sample.packs["raw"].values)


def test_the_archive_holds_the_trace_where_there_is_one() -> None:
    sample = sample_explanation()
    rows = (np.random.default_rng(3).random((8, 2, 3, 16)) / 16).astype(np.float16)
    trace = make_trace(rows, (ImageSpan(2, 18, 4, 4),))
    explanation = dataclasses.replace(sample, trace=trace)
    with np.load(io.BytesIO(export.npz(explanation)), allow_pickle=False) as archive:
        assert set(archive.files) == {"raw", "image_attention", "attention_mass", "export"}
        np.testing.assert_array_equal(archive["image_attention"], rows)
        assert archive["attention_mass"].shape == (8, 2, 3, 4) and archive["attention_mass"].dtype == np.float32
    clash = dataclasses.replace(explanation, packs={"attention_mass": sample.packs["raw"]})
    with pytest.raises(ValueError, match="attention_mass"):
        export.npz(clash)
