"""Every kind of file: the record that stands in it, its parameters, its name, and the same bytes every time."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import cv2
import msgpack
import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from medinterp.api.backend import ExportTask, PictureTask
from medinterp.api.pictures import exported
from medinterp.api.schema_export import ExportedModel
from medinterp.api.selection import FindingSelection, WordSelection
from medinterp.api.store import pack_record, unpack_record
from medinterp.cli import main
from medinterp.errors import ExportError, SelectionError
from medinterp.explanation import Explanation
from medinterp.export.facts import DISCLAIMER, export_facts, unit_of
from medinterp.export.figure import MAX_SENTENCE, sentence_of
from medinterp.export.formats import FORMATS, ExportFormat, check_parameters
from medinterp.export.png_text import with_text
from medinterp.export.typeset import runs_of, set_lines
from medinterp.export.view import chosen_words, map_view
from medinterp.imaging import rgb8
from medinterp.relevancy import METHODS
from medinterp.types import MapPack
from medinterp.view import document
from tests.api_films import PATIENT, dicom
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.export_samples import MADE, dicom_explained
from tests.programs import program
from tests.report_samples import all_kinds_explained
from tests.sources_samples import sample_reliance, sample_text_sources

NAMES = ("disclaimer", "software", "model", "revision", "film_sha256", "scale", "method", "layers", "calibration")


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    """With all kinds of findings, of the DICOM of a named patient, as it comes out of the store."""
    return unpack_record(pack_record(dicom_explained()))


def made(explanation: Explanation, form: ExportFormat, **task: Any) -> bytes:
    selection = FindingSelection(1) if FORMATS[form].selects else None
    return exported(explanation, replace(ExportTask(form, selection), **task), MADE)


def flat(record: dict[str, Any]) -> dict[str, str]:
    """The record of a document, as the lines of other files."""
    (one,) = record["maps"]
    films = ", ".join(record["film_sha256"])
    return {**{name: record[name] for name in NAMES[:4]}, "film_sha256": films, "scale": record["scale"], **one}


def lines_of(text: str) -> dict[str, str]:
    return dict(line.partition(": ")[::2] for line in text.splitlines() if ": " in line)


def from_svg(data: bytes) -> dict[str, str]:
    (told,) = ElementTree.fromstring(data).iter("{http://purl.org/dc/elements/1.1/}description")
    return lines_of(told.text or "")


def from_html(data: bytes) -> dict[str, str]:
    found = re.search(rb'<script type="application/json" id="medinterp-data">(.*?)</script>', data)
    assert found is not None
    told: dict[str, str] = json.loads(found[1])["file"]
    return told


def from_pdf(data: bytes) -> dict[str, str]:
    found = re.search(rb"/Subject \((.*?)(?<!\\)\)", data, re.DOTALL)
    assert found is not None
    return lines_of(found[1].decode("latin-1").replace("\\(", "(").replace("\\)", ")").replace("\\n", "\n"))


def from_dicom(data: bytes) -> dict[str, str]:
    dataset = pydicom.dcmread(io.BytesIO(data))
    return lines_of(dataset.ContributingEquipmentSequence[0].ContributionDescription.replace("\r\n", "\n"))


def from_npz(data: bytes) -> dict[str, str]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return flat(json.loads(str(archive["export"])))


def from_zip(data: bytes) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return flat(json.loads(archive.read("contents.json"))["export"])


def from_png(data: bytes) -> dict[str, str]:
    with Image.open(io.BytesIO(data)) as picture:
        assert isinstance(picture, PngImageFile)
        return {name: str(text) for name, text in picture.text.items()}


READERS: dict[str, Callable[[bytes], dict[str, str]]] = {
    "json": lambda data: flat(json.loads(data)["export"]),
    "npz": from_npz,
    "msgpack": lambda data: flat(ExportedModel.model_validate(msgpack.unpackb(data)).export.model_dump()),
    "zip": from_zip,
    "png": from_png,
    "html": from_html,
    "figure-png": from_png,
    "figure-svg": from_svg,
    "figure-pdf": from_pdf,
    "dicom-sc": from_dicom,
    "dicom-seg": from_dicom,
    "dicom-sr": from_dicom,
}


def test_every_format_is_read_here() -> None:
    assert set(FORMATS) == set(get_args(ExportFormat)) == set(READERS)
    assert f"<strong>{DISCLAIMER}</strong>" in document("/v1").html


@pytest.mark.parametrize("form", READERS)
def test_every_file_says_what_it_is(explanation: Explanation, form: ExportFormat) -> None:
    """Method, scale, layers, calibration, model, revision, film, version, and that it is not for diagnosis."""
    data = made(explanation, form)
    told = READERS[form](data)
    assert told["disclaimer"] == "Research use only, not for diagnosis."
    assert told["software"] == "medinterp 0.1.0"
    assert (told["model"], told["revision"]) == ("sample", "1")
    assert told["film_sha256"] == explanation.film.sha256
    assert told["method"] == "raw"
    assert told["layers"] == "the last layer, mean over heads"
    assert told["calibration"] == "uses no learned weights"
    regions = form in ("dicom-seg", "dicom-sr")
    drawn = "report" if FORMATS[form].selects else "none"
    scale = "threshold" if regions else "as chosen" if form == "html" else drawn
    assert told["scale"].startswith(scale)
    assert data == made(explanation, form), "the same bytes every time"
    if not form.startswith("dicom") and form != "zip":
        assert PATIENT.encode() not in data and b"Zzyzx" not in data


def test_learned_weights_are_told_from_none() -> None:
    sample = all_kinds_explained()
    values = sample.packs["raw"].values
    learned = MapPack("layer_weighted", values, False, False)
    bare = replace(learned, notes=("uncalibrated: every layer counts the same",))
    members = ("layer_weighted", "attention_flow")
    joined = MapPack("consensus", values, False, False, members=members, disagreement=values)
    noted = replace(joined, notes=("layer_weighted: uncalibrated: every layer counts the same",))
    chosen = replace(sample.packs["raw"], options={"layer": 3, "head": 1})
    told = [export_facts(sample, [pack]).maps[0] for pack in (learned, bare, joined, noted, chosen)]
    assert [one.calibration for one in told] == [
        "learned weights", "uncalibrated", "learned weights", "uncalibrated", "uses no learned weights",
    ]  # fmt: skip
    assert told[4].layers == "head 1, layer 3"
    assert unit_of(joined, disagreement=True) == "standard deviation of ranks"
    assert all(method.unit and method.layers for method in METHODS.values())
    assert all(("nats" in method.unit) == method.additive for method in METHODS.values() if "x" not in method.unit)


def test_the_archive_holds_all_of_a_report(explanation: Explanation) -> None:
    with zipfile.ZipFile(io.BytesIO(made(explanation, "zip"))) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        objects = {name: pydicom.dcmread(io.BytesIO(archive.read(name))) for name in names if name.endswith(".dcm")}
    assert {"report.json", "maps.npz", "report.html", "contents.json"} < names
    assert "figures/finding-0-nodule.png" in names and "figures/finding-3-pneumothorax.png" not in names
    assert {"dicom/report-seg.dcm", "dicom/report-sr.dcm", "dicom/finding-1-consolidation.dcm"} < names
    references = objects["dicom/report-sr.dcm"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    referred = {one.ReferencedSOPInstanceUID for series in references for one in series.ReferencedSOPSequence}
    assert objects["dicom/report-seg.dcm"].SOPInstanceUID in referred


def test_the_archive_says_what_could_not_be_made(explanation: Explanation) -> None:
    flat_ = replace(explanation.packs["raw"], values=np.ones_like(explanation.packs["raw"].values))
    data = exported(replace(explanation, packs={"raw": flat_}), ExportTask("zip"), MADE)  # type: ignore[arg-type]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        contents = json.loads(archive.read("contents.json"))
    assert list(contents["left_out"]) == ["dicom/report-seg.dcm"]
    assert "nothing to segment" in contents["left_out"]["dicom/report-seg.dcm"]
    with zipfile.ZipFile(io.BytesIO(made(unpack_record(pack_record(all_kinds_explained())), "zip"))) as archive:
        assert not any(name.startswith("dicom/") for name in archive.namelist()), "no DICOM of what was none"


def test_msgpack_is_the_apis_without_the_key(explanation: Explanation) -> None:
    model = ExportedModel.model_validate(msgpack.unpackb(made(explanation, "msgpack")))
    np.testing.assert_array_equal(model.maps["raw"].values, explanation.packs["raw"].values)
    assert model.verdicts[0].verdict == "region"
    asked = replace(
        explanation,
        prior=explanation.film,
        prior_packs={"raw": replace(explanation.packs["raw"], image=1)},
        reliance=sample_reliance(),
        text_sources=(sample_text_sources((1,)),),
    )
    whole = ExportedModel.model_validate(msgpack.unpackb(made(asked, "msgpack")))
    assert whole.prior is not None and whole.prior.sha256 == explanation.film.sha256
    assert whole.prior_maps["raw"].image == 1
    assert whole.reliance is not None and whole.text_sources[0].token_indices == (1,)
    np.testing.assert_array_equal(whole.reliance.reliance, sample_reliance().reliance)
    assert "id" not in msgpack.unpackb(made(explanation, "msgpack"))


def test_the_picture_is_the_overlay_with_its_own_options(explanation: Explanation) -> None:
    drawn = PictureTask(opacity=0.9, colormap="viridis", size=40, scale="map", contours=True)
    pixels = cv2.imdecode(np.frombuffer(made(explanation, "png", picture=drawn), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None and max(pixels.shape[:2]) == 40
    plain = cv2.imdecode(np.frombuffer(made(explanation, "png"), np.uint8), cv2.IMREAD_COLOR)
    assert plain is not None and plain.shape[:2] == (explanation.film.height, explanation.film.width)
    expected = explanation.overlay(explanation.report.findings[1]).pixels
    np.testing.assert_array_equal(plain[..., ::-1], expected)


def test_text_stands_in_a_png_that_still_opens() -> None:
    film = cv2.imencode(".png", rgb8(all_kinds_explained().film))[1].tobytes()
    lines = {"model": "sample", "selection": "Größe 肺", "scale": "report"}
    told = with_text(film, lines)
    assert from_png(told) == lines
    again, before = (cv2.imdecode(np.frombuffer(one, np.uint8), -1) for one in (told, film))
    assert again is not None and before is not None
    np.testing.assert_array_equal(again, before)


class TestFigure:
    """The figure in its three forms."""

    def test_text_is_text_in_svg_and_words_are_set_off(self, explanation: Explanation) -> None:
        root = ElementTree.fromstring(made(explanation, "figure-svg"))
        texts = [(one.text or "", one.get("style", "")) for one in root.iter("{http://www.w3.org/2000/svg}text")]
        bold = [text for text, style in texts if "700" in style or "bold" in style]
        assert bold == ["Consolidation"]
        words = " ".join(text for text, _ in texts)
        for part in ("in the right mid and lower zones", "not for diagnosis", "sample, revision 1", "(raw)"):
            assert part in words
        bar = [text for text, _ in texts if re.fullmatch(r"(≥ )?[\d.]+", text)]
        view = map_view(explanation, chosen_words(explanation.report, explanation.report.findings[1]).tokens)
        top = view.value_range[1]
        assert bar[:5] == ["0", *(f"{top * share:.3g}" for share in (1 / 16, 1 / 4, 9 / 16)), f"≥ {top:.3g}"]
        assert "attention weight (square-root scale)" in [text for text, _ in texts]
        assert b"<image" in made(explanation, "figure-svg") and b"<dc:date>" not in made(explanation, "figure-svg")

    def test_fonts_are_embedded_in_pdf(self, explanation: Explanation, tmp_path: Path) -> None:
        data = made(explanation, "figure-pdf")
        assert data.startswith(b"%PDF") and b"CreationDate" not in data
        assert b"/FontFile2" in data and b"/Type3" not in data
        (tmp_path / "figure.pdf").write_bytes(data)
        command = [program("gs", "ghostscript"), "-q", "-dNOPAUSE", "-dBATCH", "-sDEVICE=png16m", "-r50"]
        command += [f"-sOutputFile={tmp_path / 'page.png'}", str(tmp_path / "figure.pdf")]
        subprocess.run(command, check=True, timeout=60)
        page = cv2.imread(str(tmp_path / "page.png"))
        assert page is not None and page.shape[1] == 400 and page.std() > 20

    def test_a_figure_shows_film_and_overlay(self, explanation: Explanation) -> None:
        page = cv2.imdecode(np.frombuffer(made(explanation, "figure-png"), np.uint8), cv2.IMREAD_COLOR)
        assert page is not None and page.shape[1] == 1600
        coloured = page.max(axis=2).astype(int) - page.min(axis=2) > 60
        assert coloured[:, 800:1560].mean() > 10 * coloured[: page.shape[0] // 2, 40:600].mean()
        other = made(explanation, "figure-png", selection=WordSelection(3, 5))
        assert other != made(explanation, "figure-png")

    def test_signed_maps_have_a_bar_about_zero(self, explanation: Explanation) -> None:
        pack = replace(explanation.packs["raw"], values=explanation.packs["raw"].values - 0.5, signed=True)
        root = ElementTree.fromstring(made(replace(explanation, packs={"raw": pack}), "figure-svg"))  # type: ignore[arg-type]
        bar = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}text")]
        assert any(text.startswith("≤ -") for text in bar) and any(text.startswith("≥ ") for text in bar)

    @pytest.mark.parametrize("form", ["figure-png", "figure-pdf", "figure-svg"])
    def test_letters_that_the_font_lacks_are_refused_and_not_drawn_as_boxes(
        self, explanation: Explanation, form: ExportFormat
    ) -> None:
        foreign = all_kinds_explained()
        text = foreign.report.text.replace("Consolidation", "肺実変", 1).ljust(len(foreign.report.text))
        strange = replace(explanation, report=replace(foreign.report, text=text))
        if form == "figure-svg":
            assert "肺".encode() in made(strange, form)  # type: ignore[arg-type]
        else:
            with pytest.raises(ExportError, match="lacks") as error:
                made(strange, form)  # type: ignore[arg-type]
            assert "肺" not in str(error.value)

    def test_a_dollar_sign_is_no_mathematics(self, explanation: Explanation) -> None:
        text = explanation.report.text.replace("in the right mid", "$x_1^2$ th mid").ljust(len(explanation.report.text))
        priced = replace(explanation, report=replace(explanation.report, text=text))
        assert b"$x_1^2$" in made(priced, "figure-svg")  # type: ignore[arg-type]

    def test_long_texts_are_broken_into_lines_and_cut_around_the_words(self, explanation: Explanation) -> None:
        placed = set_lines(runs_of("word " * 100 + "x" * 300, [(0, 4)]), 10.0, 200.0)
        assert placed[0].run.marked and not placed[1].run.marked
        assert all(one.left + one.width <= 200.5 for one in placed)
        assert "".join(one.run.text for one in placed) == "word" * 100 + "x" * 300
        report = explanation.report
        long = replace(report, text=report.text.replace(". Consolidation", "; Consolidation") + "y" * 5000)
        sentence, marks = sentence_of(replace(long, sentences=()), chosen_words(long, report.findings[1]))
        assert len(sentence) <= MAX_SENTENCE + 4
        assert sentence[slice(*marks[0])] == "Consolidation"


@pytest.mark.parametrize(
    ("form", "given", "told"),
    [
        ("json", ["opacity"], "format json does not take opacity; it takes no parameters"),
        ("html", ["method", "size"], "does not take method, size"),
        ("figure-pdf", ["finding", "size"], "does not take size"),
        ("dicom-seg", ["finding"], "does not take finding; it takes method, threshold, without_sinks"),
        ("png", ["finding", "threshold"], "does not take threshold"),
        ("png", ["opacity"], "format png lacks a selection"),
        ("dicom-sc", ["words", "finding"], "format dicom-sc has two selections"),
    ],
)
def test_parameters_that_a_format_does_not_take_or_lacks(form: ExportFormat, given: list[str], told: str) -> None:
    with pytest.raises(ExportError, match=re.escape(told)):
        check_parameters(form, given)


def of_dicom(service: Service) -> str:
    """A report of the DICOM of a named patient."""
    answer = service.post(image=dicom())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("form", FORMATS)
def test_over_http(service: Service, form: str) -> None:
    """Of a DICOM film, every format; the sample's report affirms nothing, so that there is nothing to segment."""
    report = of_dicom(service)
    kind = FORMATS[form]  # type: ignore[index]
    query = {"format": form, **({"words": "1-1", "opacity": 0.7} if kind.selects else {})}
    answer = service.client.get(f"/reports/{report}/export", params=query)
    if form == "dicom-seg":
        assert "nothing to segment" in problem(answer, 422)["detail"]
        return
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == kind.media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="{kind.file_name}"'
    if form != "zip":  # compressed
        assert (PATIENT.encode() in answer.content) == form.startswith("dicom")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("format=json&method=raw", "does not take method"),
        ("format=png", "lacks a selection"),
        ("format=figure-png&finding=9", "findings"),
        ("format=figure-png&words=0-1&method=crystal-ball", "crystal-ball"),
        ("format=dicom-sr&threshold=7", "otsu"),
        ("format=dicom-sr", "came as image/png"),
        ("format=png&words=0-1&image=1", "image 1"),
    ],
)
def test_what_cannot_be_exported_is_said(service: Service, query: str, told: str) -> None:
    answer = service.client.get(f"/reports/{service.report()}/export?{query}")
    assert told in json.dumps(problem(answer, 422))


def test_a_verdict_is_kept_and_exported(service: Service) -> None:
    place = f"/reports/{of_dicom(service)}"
    for _ in range(2):  # the second takes the place of the first
        assert service.client.post(f"{place}/faithfulness", json={"finding": 0}).status_code == 200
    record = service.client.get(f"{place}/export", params={"format": "json"}).json()
    assert [one["verdict"] for one in record["verdicts"]] == ["region"]
    data = service.client.get(f"{place}/export", params={"format": "dicom-sr"}).content
    assert b"Driven by the region" in data


class TestCommand:
    """`medinterp export`."""

    @pytest.fixture(scope="class")
    @classmethod
    def kept(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("explained")
        (folder / "explanation.msgpack").write_bytes(pack_record(dicom_explained()))
        return folder

    @pytest.mark.parametrize("form", FORMATS)
    def test_every_format_is_what_the_service_gives(
        self, kept: Path, tmp_path: Path, form: ExportFormat, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "new" / FORMATS[form].file_name
        chosen = ["--finding", "1"] if FORMATS[form].selects else []
        assert main(["export", str(kept), "--format", form, *chosen, "--out", str(out)]) == 0
        assert capsys.readouterr().out == f"{out}\n"
        assert out.stat().st_mode & 0o777 == 0o600
        if not form.startswith("dicom") and form != "zip":  # these tell the time
            assert out.read_bytes() == made(unpack_record((kept / "explanation.msgpack").read_bytes()), form)

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--format", "gif"], "--format: Input should be 'json'"),
            (["--format", "json", "--scale", "map"], "does not take scale"),
            (["--format", "png"], "lacks a selection"),
            (["--format", "png", "--finding", "99"], "findings, counted from 0"),
            (["--format", "png", "--finding", "0", "--opacity", "7"], "--opacity"),
            (["--format", "png", "--finding", "0", "--method", "occlusion"], "occlusion"),
            (["--format", "dicom-seg", "--threshold", "9"], "otsu"),
        ],
    )
    def test_errors_say_what_to_do(
        self, kept: Path, tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["export", str(kept), *arguments, "--out", str(tmp_path / "x")]) == 2
        assert told in capsys.readouterr().err
        assert not (tmp_path / "x").exists()

    def test_a_folder_of_something_else(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["export", str(tmp_path), "--format", "json", "--out", str(tmp_path / "x")]
        assert main(arguments) == 2
        assert "`medinterp explain FILM --out DIR` writes it" in capsys.readouterr().err
        (tmp_path / "explanation.msgpack").write_bytes(b"\x80")
        assert main(arguments) == 2
        assert "explain the film again" in capsys.readouterr().err


def test_words_that_nobody_wrote_cannot_be_chosen() -> None:
    report = all_kinds_explained().report
    with pytest.raises(SelectionError):
        chosen_words(report, ())
