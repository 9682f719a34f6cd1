"""The commands as a user types them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from models import noise_film, save_small_model

from medinterp.cli import main
from medinterp.cli.films import find_films
from medinterp.errors import CalibrationError
from medinterp.explainer import Explainer
from medinterp.imaging import read_film
from medinterp.model import load_model
from medinterp.phantom.films import draw_film, sample_film
from medinterp.relevancy import TRACE_METHODS


def test_a_film_is_drawn_with_its_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "film", "--seed", "7", "--size", "750x600", "--out", str(tmp_path)]) == 0
    printed = set(capsys.readouterr().out.split())
    assert printed == {str(path) for path in tmp_path.iterdir()}
    truth = json.loads((tmp_path / "film-7.json").read_text())
    film, without = (cv2.imread(str(tmp_path / name), 0) for name in ("film-7.png", "film-7-without-0.png"))
    assert film is not None
    assert without is not None
    assert film.shape == without.shape == (600, 750)
    mask = cv2.imread(str(tmp_path / truth["findings"][0]["mask"]), 0)
    assert mask is not None
    changed = np.abs(film.astype(int) - without) > 3
    assert changed[mask > 0].mean() > 0.5
    grown = cv2.dilate(mask, np.ones((31, 31)))
    assert not changed[grown == 0].any()
    assert "IMPRESSION" in truth["report"]


@pytest.mark.parametrize("arguments", [[], ["--monochrome1"], ["--bits", "12"], ["--bits", "12", "--monochrome1"]])
def test_every_kind_of_dicom_looks_like_the_png(tmp_path: Path, arguments: list[str]) -> None:
    main(["phantom", "film", "--seed", "11", "--size", "200x240", "--out", str(tmp_path), *arguments])
    dicom = read_film((tmp_path / "film-11.dcm").read_bytes())
    png = read_film((tmp_path / "film-11.png").read_bytes())
    shares = [film.pixels / np.iinfo(film.pixels.dtype).max for film in (dicom, png)]
    assert np.abs(shares[0] - shares[1]).max() < 0.01


@pytest.mark.parametrize(
    "arguments",
    [
        ["phantom", "film", "--seed", "7", "--size", "7x", "--out", "x"],
        ["phantom", "film", "--seed", "-1", "--out", "x"],
        ["phantom", "film", "--seed", "7", "--size", "10x99999", "--out", "x"],
        ["explain", "film.png"],
        ["explain", "film.png", "--out", "x", "--option", "block=4"],
        ["explain", "film.png", "--out", "x", "--option", "occlusion.block"],
        ["evaluate", "--films", "10"],
        [],
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_errors_say_what_to_do_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    (tmp_path / "notes.png").write_text("not a film")
    assert main(["explain", str(tmp_path / "notes.png"), "--out", str(out)]) == 2
    assert main(["phantom", "film", "--seed", "7", "--without", "9", "--out", str(out)]) == 2
    assert "--without 9" in capsys.readouterr().err
    assert not out.exists()


def test_explain_writes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", "film", "--seed", "7", "--size", "600x500", "--out", str(tmp_path)])
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["explain", str(tmp_path / "film-7.png"), "--out", str(out), "--method", "all"]) == 0
    assert set(capsys.readouterr().out.split()) == {str(path) for path in out.iterdir()}
    report = json.loads((out / "report.json").read_text())
    present = [finding for finding in report["findings"] if finding["status"] != "absent"]
    assert present
    assert len(list(out.glob("finding-*-raw.png"))) == len(present)
    with np.load(out / "maps.npz") as maps:
        assert maps["raw"].shape == (len(report["tokens"]), 16, 16)
    assert "http://" not in (out / "report.html").read_text().replace("http://www.w3.org", "")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """`explain` of a film of noise by a small random model."""
    folder = tmp_path_factory.mktemp("small")
    cv2.imwrite(str(folder / "film.png"), noise_film().pixels)
    model = save_small_model(folder / "model")
    return ["explain", str(folder / "film.png"), "--model", str(model), "--force"]


GIVEN = "LUNGS: Épanchement.\nA zebra.\n"


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_explain_takes_a_report_that_somebody_else_wrote(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    data = GIVEN.replace("\n", "\r\n").encode("utf-8-sig")
    path, out = tmp_path / "report.txt", tmp_path / "out"
    path.write_bytes(data)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))
    assert main([*small, "--report", "-" if source == "stdin" else str(path), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert (report["text"], report["provenance"]["given"]) == (GIVEN, True)
    unlikely = sum(word["unlikely"] for word in report["words"])
    assert f"explained: 4 words; {unlikely} of them the model would hardly write" in capsys.readouterr().err
    assert '"given":true' in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("data", "arguments", "told"),
    [
        ("Größe normal.".encode("latin-1"), [], "is not UTF-8 text"),
        ("Normal.".encode("utf-16"), [], "is not UTF-8 text"),
        (b" \r\n", [], "report.txt is empty"),
        (None, [], "cannot read"),
        (b"Normal.", ["--max-new-tokens", "5"], "leave out --max-new-tokens"),
        (b"Normal.", ["film"], "these are 2"),
        (b"Normal.<end_of_turn>", [], "control tokens: <end_of_turn>"),
    ],
)
def test_a_report_that_cannot_be_explained_is_refused(
    small: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    data: bytes | None,
    arguments: list[str],
    told: str,
) -> None:
    path, out = tmp_path / "report.txt", tmp_path / "out"
    if data is not None:
        path.write_bytes(data)
    more = [str(film_of(1, tmp_path / "b.png"))] if arguments == ["film"] else arguments
    assert main([small[0], *more, *small[1:], "--report", str(path), "--out", str(out)]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_explain_takes_a_prior_film(small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prior, out = tmp_path / "earlier.png", tmp_path / "out"
    cv2.imwrite(str(prior), noise_film(9).pixels)
    assert main([*small, "--prior", str(prior), "--max-new-tokens", "5", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["prior"]["sha256"] != report["film"]["sha256"]
    assert "raw_prior" in np.load(out / "maps.npz")
    assert f"medinterp: {prior}: " in capsys.readouterr().err, "noise is no chest film"


def test_a_prior_film_that_cannot_be_used_is_named(
    small: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "earlier.png", tmp_path / "out"
    broken.write_bytes(b"no film")
    assert main([*small, "--prior", str(broken), "--out", str(out)]) == 2
    assert "prior: " in capsys.readouterr().err
    assert main([*small, "--prior", str(tmp_path / "nowhere.png"), "--out", str(out)]) == 2
    assert "prior: " in capsys.readouterr().err
    second = str(film_of(1, tmp_path / "b.png"))
    assert main([small[0], second, *small[1:], "--prior", str(broken), "--out", str(out)]) == 2
    assert "these are 2" in capsys.readouterr().err
    assert not out.exists()


def test_explain_takes_options_of_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, directory, out = tmp_path / "film.png", save_small_model(tmp_path / "model"), tmp_path / "out"
    cv2.imwrite(str(film), noise_film().pixels)
    asked = ["explain", str(film), "--model", str(directory), "--max-new-tokens", "4", "--out", str(out), "--force"]
    texts = ("occlusion.coarse_to_fine=false", "occlusion.block=4", "raw.layer=mean")
    given = [argument for text in texts for argument in ("--option", text)]
    assert main([*asked, "--method", "occlusion", "--method", "raw", *given]) == 0
    with np.load(out / "maps.npz") as maps:
        squares = maps["occlusion"].reshape(-1, 4, 4, 4, 4)
        everywhere = maps["image_attention"].mean(axis=(1, 2), dtype=np.float32)
        np.testing.assert_allclose(maps["raw"].reshape(everywhere.shape), everywhere, atol=1e-5)
    np.testing.assert_array_equal(squares, np.broadcast_to(squares[:, :, :1, :, :1], squares.shape))
    methods = json.loads((out / "report.json").read_text())["methods"]
    assert [method["notes"][:1] for method in methods] == [["blocks of 4 x 4 cells"], []]
    capsys.readouterr()
    assert main([*asked, "--method", "raw", "--option", "occlusion.block=4"]) == 2
    assert "options were given for occlusion" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["--report", "--localisation"])
def test_evaluate_measures(tmp_path: Path, what: str) -> None:
    path = tmp_path / "result.json"
    assert main(["evaluate", what, "--films", "6", "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["films"] == 6
    if what == "--report":
        assert set(result) >= {"finding_f1", "side_accuracy", "zone_accuracy", "removed_finding_changes_word"}
        assert 0.5 < result["finding_f1"] <= 1.0
    else:
        assert result["words"] > 0
        scores = result["methods"]
        assert {*TRACE_METHODS, "random", "centre", "mean mask", "ceiling"} <= scores.keys()
        assert scores["raw, mean of layers"]["pointing"]["value"] > scores["random"]["pointing"]["value"]
        assert scores["ceiling"]["pointing"]["value"] == 1.0
        assert all(score["mass"]["value"] <= scores["ceiling"]["mass"]["value"] for score in scores.values())


def test_calibration_is_learned_kept_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = save_small_model(tmp_path / "model")
    out = tmp_path / "calibration.json"
    films = [str(tmp_path / f"{seed}.png") for seed in range(4)]
    for seed, path in enumerate(films):
        cv2.imwrite(path, noise_film(seed).pixels)
    asked = ["--max-new-tokens", "10", "--out", str(out)]
    assert main(["calibrate", str(directory), *films, *asked]) == 0
    learned = json.loads(out.read_text())
    assert len(learned["layer_weights"]) == 4
    assert {"learned", "uniform", "last layer"} <= learned["held_out_divergence_nats"].keys()
    before = Explainer.from_pretrained(str(directory)).explain(films[0], force=True, max_new_tokens=5)
    assert "uncalibrated" in before.packs["layer_weighted"].notes[0]
    after = Explainer.from_pretrained(str(directory), calibration=out).explain(films[0], force=True, max_new_tokens=5)
    assert not any("uncalibrated" in note for note in after.packs["layer_weighted"].notes)
    assert not np.array_equal(after.packs["layer_weighted"].values, before.packs["layer_weighted"].values)
    # In the model's own directory it is found by itself; other weights need another one, and can have it.
    out.rename(directory / "calibration.json")
    assert load_model(str(directory)).layer_weights is not None
    save_small_model(directory, seed=1)
    with pytest.raises(CalibrationError, match="run `medinterp calibrate` again"):
        load_model(str(directory))
    again = ["--max-new-tokens", "10", "--out", str(directory / "calibration.json")]
    assert main(["calibrate", str(directory), *films, *again]) == 0
    assert load_model(str(directory)).layer_weights is not None
    capsys.readouterr()
    assert main(["calibrate", str(directory), *asked]) == 2
    assert "--synthetic" in capsys.readouterr().err


def test_selftest_prints_its_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest", "phantom"]) == 0
    assert len(json.loads(capsys.readouterr().out)["checks"]) > 4


def film_of(seed: int, path: Path, size: int = 260) -> Path:
    """A small film as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), draw_film(sample_film(10_000_000 + seed), size, size + 20).uint8())
    return path


def test_a_folder_of_films_one_bad_one_does_not_stop_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "archive", tmp_path / "out"
    film_of(1, folder / "p1" / "IM0001.png")
    film_of(2, folder / "p2" / "IM0001.png")
    film_of(3, folder / "p2" / "deep" / "IM0002.png")
    (folder / "p2" / "IM0003.png").write_bytes(film_of(4, tmp_path / "x.png").read_bytes()[:900])
    cv2.imwrite(str(folder / "inverted.png"), 255 - cv2.imread(str(folder / "p1" / "IM0001.png"), 0))
    (folder / "notes.txt").write_text("not a film")
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    asked = ["explain", str(folder), "--out", str(out), "--max-new-tokens", "3"]
    assert main(asked) == 1
    told = capsys.readouterr().err
    assert "2 other files in these folders are no films" in told
    assert "IM0003.png: The PNG is broken or cut off" in told
    assert "inverted.png: The film is inverted" in told
    assert "--force asks for one all the same" in told
    assert "2 of 5 films were not read" in told
    reports = sorted(str(path.parent.relative_to(out)) for path in out.rglob("report.json"))
    assert reports == ["IM0002", "p1/IM0001", "p2/IM0001"]
    assert main([*asked[:1], str(folder / "inverted.png"), *asked[2:], "--force"]) == 0
    assert "The film is inverted" in capsys.readouterr().err
    assert "inverted" in (out / "report.html").read_text()
    assert main([*asked[:1], str(folder / "inverted.png"), *asked[2:]]) == 2
    assert main([*asked[:1], str(tmp_path / "out" / "p1"), *asked[2:]]) == 2
    assert "there is no film in" in capsys.readouterr().err


def test_results_never_share_a_folder(tmp_path: Path) -> None:
    def results(*names: str) -> list[str]:
        return [str(film.result) for film in find_films([tmp_path / name for name in names])[0]]

    assert results("a/1.png", "b/1.png") == ["a/1", "b/1"]
    assert results("a/1.png", "a/1.dcm") == ["1.png", "1.dcm"]
    assert results("a/1.png", "a/1.dcm", "b/1.png") == ["1.png", "1.dcm", "1"]
    many = results("a/x/1.png", "b/x/1.png", "b/y/1.png", "2.png", "a/x/1.jpg", "a/x/1.png")
    assert len(set(many)) == len(many) == 5


def test_results_lie_below_the_output_folder_whatever_the_paths() -> None:
    found, _ = find_films([Path("/a/IM"), Path("/b/a/IM")])
    assert [str(film.result) for film in found] == ["a/IM", "b/a/IM"]


def test_a_film_that_is_named_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film_of(1, tmp_path / "a.png")
    found, _ = find_films([Path("a.png"), tmp_path / "a.png", Path("x/../a.png"), tmp_path])
    assert [(film.path, film.result) for film in found] == [(Path("a.png"), Path("a"))]


def test_the_results_of_an_earlier_run_are_no_films(tmp_path: Path) -> None:
    film_of(1, tmp_path / "a.png")
    film_of(2, tmp_path / "out" / "a" / "finding-0-nodule-raw.png")
    found, others = find_films([tmp_path], out=tmp_path / "out")
    assert [film.path for film in found] == [tmp_path / "a.png"]
    assert others == 0
    assert len(find_films([tmp_path])[0]) == 2


def test_a_window_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", "film", "--seed", "7", "--size", "300x300", "--out", str(tmp_path)])
    asked = ["explain", str(tmp_path / "film-7.dcm"), "--out", str(tmp_path / "out"), "--max-new-tokens", "2"]
    assert main([*asked, "--window", "full"]) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["film"]["window"] == "full"
    assert main([*asked, "--window", "window-7"]) == 2
    assert "window-1 (center 32768, width 65536, LINEAR)" in capsys.readouterr().err
