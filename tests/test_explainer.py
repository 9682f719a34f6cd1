"""The facade on the packaged model, and on a model that has nothing of it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from medinterp import Explainer, Explanation
from medinterp.errors import (
    FilmWithheldError,
    MethodError,
    MissingEvidenceError,
    NoPictureError,
    PromptError,
    SelectionError,
    UnknownMethodError,
    UnreadableFilmError,
)
from medinterp.imaging import open_film, rgb8
from medinterp.model import self_test
from medinterp.phantom.files import write_film
from medinterp.phantom.films import draw_film, sample_film
from medinterp.relevancy import METHODS
from medinterp.render import RenderOptions
from tests.models import noise_film, real_tokenizer, save_small_model

SEED = 10_000_000


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained("phantom")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    write_film(sample_film(SEED), 700, 600, folder)
    return folder


@pytest.fixture(scope="module")
def explanation(explainer: Explainer, films: Path) -> Explanation:
    return explainer.explain(films / f"film-{SEED}.png")


def test_every_word_has_a_map_and_a_place_in_the_report(explanation: Explanation) -> None:
    report = explanation.report
    assert len(report.words) > 30
    for word in report.words:
        assert report.text[word.start : word.end] == word.text
        assert explanation.word_at(word.start) == word
        assert explanation.map(word).values.shape == (16, 16)
        assert explanation.map(word).token_indices == word.token_indices
    assert report.sections[0].name == "DEVICES"
    assert explanation.section("lungs").text in report.text


def test_words_of_several_tokens_sum_their_log_probabilities(explanation: Explanation) -> None:
    trace, report = explanation.trace, explanation.report
    assert trace is not None
    several = [word for word in report.words if len(word.token_indices) > 1]
    assert several
    for word in several:
        total = float(trace.token_logprob[list(word.token_indices)].sum())
        assert word.logprob == pytest.approx(total, abs=1e-4)


def test_a_report_that_somebody_else_wrote_is_explained(explainer: Explainer, explanation: Explanation) -> None:
    """Its own report again gives its own maps; words that it would not have written are marked."""
    again = explainer.explain(explanation.film, report=explanation.report.text)
    assert again.provenance.given and not explanation.provenance.given
    assert again.report.text == explanation.report.text
    assert not [word.text for word in again.report.words if word.unlikely]
    for mine, its in zip(again.report.words, explanation.report.words, strict=True):
        np.testing.assert_allclose(again.map(mine).values, explanation.map(its).values, atol=1e-4)
    other = explainer.explain(explanation.film, report="BONES: A zebra sits on the left clavicle.", methods=["raw"])
    assert {"zebra", "sits"} <= {word.text for word in other.report.words if word.unlikely}


def test_the_same_words_at_two_places_have_two_maps(explanation: Explanation) -> None:
    places = [word for word in explanation.report.words if word.text == "No"]
    assert len(places) > 1
    assert not np.array_equal(explanation.map(places[0]).values, explanation.map(places[1]).values)


def test_png_jpeg_16_bit_colour_and_dicom_give_the_same_report(
    explainer: Explainer, films: Path, explanation: Explanation, tmp_path: Path
) -> None:
    pixels = draw_film(sample_film(SEED), 700, 600)
    for name, picture in {"deep.png": pixels.uint16(), "film.jpg": pixels.uint8()}.items():
        cv2.imwrite(str(tmp_path / name), picture, [cv2.IMWRITE_JPEG_QUALITY, 95])
    cv2.imwrite(str(tmp_path / "colour.png"), cv2.cvtColor(pixels.uint8(), cv2.COLOR_GRAY2BGR))
    for path in (*sorted(tmp_path.iterdir()), films / f"film-{SEED}.dcm"):
        assert explainer.explain(path).report.text == explanation.report.text, path.name


def test_overlays_lie_on_the_film(explanation: Explanation, tmp_path: Path) -> None:
    word = explanation.report.words[-1]
    picture = explanation.overlay(word, options=RenderOptions(scale="map"))
    assert picture.pixels.shape == (600, 700, 3)
    picture.save(tmp_path / "word.png")
    assert cv2.imread(str(tmp_path / "word.png")).shape == (600, 700, 3)
    finding = next(f for f in explanation.report.findings if f.present)
    assert explanation.overlay(finding).png().startswith(b"\x89PNG")


def test_a_prior_film_has_maps_of_its_own(explainer: Explainer) -> None:
    current, earlier = noise_film(1, 300, 200), noise_film(2, 150, 260)
    explanation = explainer.explain(current, force=True, prior=earlier, max_new_tokens=12)
    word = explanation.report.words[0]
    on_current, on_prior = explanation.map(word, "raw"), explanation.map(word, "raw", image=1)
    assert (on_current.image, on_prior.image) == (0, 1)
    assert not np.array_equal(on_current.values, on_prior.values)
    trace = explanation.trace
    assert trace is not None
    share = trace.attention_mass[list(word.token_indices), -1, :, 0].mean()
    assert float(on_current.values.sum() + on_prior.values.sum()) == pytest.approx(float(share), abs=1e-2)
    assert explanation.overlay(word, "raw", image=1).pixels.shape == (150, 260, 3)
    with pytest.raises(SelectionError, match="image 2"):
        explanation.map(word, "raw", image=2)


def test_methods_take_options(explainer: Explainer) -> None:
    """Both kinds of methods; options of one that is not asked for are refused before the model is asked."""
    film, options = noise_film(), {"raw": {"layer": 0}, "occlusion": {"block": 4}}
    explanation = explainer.explain(film, force=True, methods=["raw", "occlusion"], options=options, max_new_tokens=4)
    packs, trace = explanation.packs, explanation.trace
    assert trace is not None
    assert {name: pack.options for name, pack in packs.items()} == options
    np.testing.assert_array_equal(packs["raw"].values.reshape(trace.report_length, -1), trace.head_mean[:, 0])
    assert packs["occlusion"].notes[0] == "blocks of 4 x 4 cells"
    squares = packs["occlusion"].values.reshape(-1, 4, 4, 4, 4)
    np.testing.assert_array_equal(squares, np.broadcast_to(squares[:, :, :1, :, :1], squares.shape))
    words: list[str] = []
    with pytest.raises(MethodError, match="options were given for occlusion"):
        explainer.explain(film, force=True, methods=["raw"], options=options, on_word=words.append)
    assert not words
    with pytest.raises(MethodError, match="no option depth"):
        wrong = {"occlusion": {"depth": 1}}
        explainer.explain(film, force=True, methods=["occlusion"], options=wrong, max_new_tokens=2)


def test_every_setting_of_a_method_runs(explainer: Explainer) -> None:
    offered = {name: method.settings for name, method in METHODS.items() if method.settings}
    assert offered.keys() == {"occlusion"}
    found = {}
    for setting in offered["occlusion"]:
        options = {"occlusion": setting.options}
        asked = {"methods": ["occlusion"], "options": options, "max_new_tokens": 2}
        explanation = explainer.explain(noise_film(), force=True, **asked)
        pack = explanation.packs["occlusion"]
        assert pack.options == setting.options
        found[setting.title] = (pack.notes[:1], pack.values.tobytes())
    assert found["every cell (exact)"][0] == ()
    assert found["coarse to fine (fast)"][0] == ("blocks of 4 x 4 cells, the strongest tenth of the film cell by cell",)
    assert len(set(found.values())) == len(offered["occlusion"]), "each has maps and a note of its own"


def test_the_disagreement_of_a_consensus_is_drawn(explainer: Explainer) -> None:
    explanation = explainer.explain(noise_film(), force=True, methods=["consensus"], max_new_tokens=6)
    word = explanation.report.words[0]
    apart = RenderOptions(quantity="disagreement")
    drawn = explanation.overlay(word, options=apart).pixels
    assert (drawn != explanation.overlay(word).pixels).any()
    pack = explanation.packs["consensus"]
    assert pack.disagreement is not None
    pack.disagreement[:] = 0.0
    bare = explanation.overlay(word, options=apart).pixels
    np.testing.assert_array_equal(bare, explanation.overlay(word, options=RenderOptions(opacity=0)).pixels)
    explanation.packs["raw"] = replace(pack, method="raw", disagreement=None)
    with pytest.raises(MissingEvidenceError, match="joins no other methods"):
        explanation.overlay(word, "raw", apart)


def test_mistakes_are_named(explainer: Explainer, explanation: Explanation, tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="character 100000"):
        explanation.word_at(100_000)
    with pytest.raises(SelectionError, match="it has: DEVICES"):
        explanation.section("BRAIN")
    with pytest.raises(SelectionError, match="was not computed"):
        explanation.map(explanation.report.words[0], "occlusion")
    with pytest.raises(SelectionError, match="no word"):
        explanation.map([])
    with pytest.raises(UnknownMethodError, match="raw"):
        explainer.explain(noise_film(), force=True, methods=["no_such"])
    with pytest.raises(UnreadableFilmError, match=r"nowhere\.png"):
        explainer.explain(tmp_path / "nowhere.png")


def test_nothing_is_phantoms_own(tmp_path: Path) -> None:
    """A random Gemma 3 with the real tokenizer, text before the image: the same code, no line changed."""
    directory = save_small_model(tmp_path, tokenizer=real_tokenizer())
    explainer = Explainer.from_pretrained(str(directory), image_first=False)
    assert self_test(explainer.loaded).checks
    explanation = explainer.explain(noise_film(), force=True, prompt="Describe this chest film.", max_new_tokens=24)
    trace = explanation.trace
    assert trace is not None
    assert trace.image_spans[0].start > 10
    assert trace.image_attention.shape == (trace.report_length, 4, explainer.loaded.facts.heads, 256)
    np.testing.assert_allclose(trace.attention_mass.sum(axis=-1), 1.0, atol=1e-3)
    for word in explanation.report.words:
        assert explanation.map(word).values.sum() > 0


def test_a_film_may_be_held_in_many_ways(explainer: Explainer, films: Path, explanation: Explanation) -> None:
    path = films / f"film-{SEED}.png"
    pixels = np.asarray(Image.open(path))
    expected = explanation.film.pixels
    held = [
        str(path),
        path.read_bytes(),
        memoryview(path.read_bytes()),
        pixels,
        pixels.astype(np.uint16) * 257,
        np.repeat(pixels[:, :, None], 3, axis=2),
        Image.fromarray(pixels),
        Image.fromarray(pixels).convert("RGB"),
        Image.fromarray(pixels.astype(np.uint16) * 257),
    ]
    for each in held:
        np.testing.assert_array_equal(rgb8(open_film(each))[:, :, 0], expected)
    dataset = pydicom.dcmread(films / f"film-{SEED}.dcm")
    np.testing.assert_allclose(rgb8(open_film(dataset))[:, :, 0].astype(int), expected, atol=1)
    assert open_film(dataset, window="full").window == "full"
    del dataset.file_meta
    np.testing.assert_allclose(rgb8(open_film(dataset))[:, :, 0].astype(int), expected, atol=1)
    red_first = np.zeros((64, 64, 3), np.uint8)
    red_first[:, :32, 0] = 255
    assert int(open_film(red_first).pixels.max()) == 76
    assert open_film(pixels).media_type == "application/octet-stream"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        [1, 2],
        {},
        np.zeros((64, 64)),
        np.zeros((64, 64, 2), np.uint8),
        np.zeros(9, np.uint8),
        Image.new("F", (64, 64)),
    ],
)
def test_what_is_no_film_says_what_is_wanted(wrong: object) -> None:
    with pytest.raises(UnreadableFilmError, match="A film is a path, a file's bytes, a Film, a PIL image"):
        open_film(wrong)


def test_a_report_that_would_mean_nothing_is_withheld_unless_forced(explainer: Explainer, films: Path) -> None:
    pixels = np.asarray(Image.open(films / f"film-{SEED}.png"))
    words: list[str] = []
    with pytest.raises(FilmWithheldError, match="inverted"):
        explainer.explain(255 - pixels, on_word=words.append)
    with pytest.raises(FilmWithheldError, match=r"This is noise.*made for"):
        explainer.explain(np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8))
    with pytest.raises(NoPictureError):
        explainer.explain(np.full((300, 300), 128, np.uint8), force=True)
    assert not words
    forced = explainer.explain(255 - pixels, force=True, max_new_tokens=2)
    assert [warning.code for warning in forced.film.warnings] == ["inverted", "foreign"]
    with pytest.raises(FilmWithheldError, match="inverted"):
        explainer.explain(pixels, prior=255 - pixels)


def test_a_film_in_memory_is_the_film_in_the_file(films: Path) -> None:
    """Pillow keeps the orientation beside the picture; arrays may be big-endian; data sets may be of a subclass."""
    image = Image.open(films / f"film-{SEED}.png")
    exif = Image.Exif()
    exif[274] = 6
    file = io.BytesIO()
    image.rotate(90, expand=True).save(file, "PNG", exif=exif)
    expected = open_film(file.getvalue())
    np.testing.assert_array_equal(open_film(Image.open(file)).pixels, expected.pixels)
    np.testing.assert_array_equal(expected.pixels, np.asarray(image))
    deep = np.asarray(image).astype(np.uint16) * 257
    np.testing.assert_array_equal(open_film(deep.astype(">u2")).pixels, open_film(deep).pixels)

    class Own(pydicom.FileDataset):
        """As other packages make their own."""

    path = films / f"film-{SEED}.dcm"
    dataset = pydicom.dcmread(path)
    dataset.__class__ = Own
    np.testing.assert_array_equal(open_film(dataset).pixels, open_film(path).pixels)


def test_what_cannot_be_opened_is_a_film_error(films: Path) -> None:
    path = films / f"film-{SEED}.png"
    closed = Image.open(path)
    closed.load()
    closed.close()
    cut = Image.open(io.BytesIO(path.read_bytes()[:3000]))
    for source in (closed, cut, "null\0character"):
        with pytest.raises(UnreadableFilmError):
            open_film(source)
    with pytest.raises(SelectionError, match="read already"):
        open_film(open_film(path), window="full")


def test_the_demo_model_reads_no_indication(explainer: Explainer, films: Path) -> None:
    """A long one is outside of its training; it is refused before anything is read, and not quoted."""
    with pytest.raises(PromptError, match="without an indication") as caught:
        explainer.explain(films / f"film-{SEED}.png", indication="Mrs Doe coughs")
    assert "Doe" not in str(caught.value)
