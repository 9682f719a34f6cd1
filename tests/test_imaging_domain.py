"""The films that a model was made for."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medinterp.cli import main
from medinterp.errors import ModelError
from medinterp.evaluation.foreign import evaluate_domain, variants
from medinterp.imaging import read_film
from medinterp.imaging.chest import drawn_chest
from medinterp.imaging.domain import FilmDomain, fit_domain, read_domain
from medinterp.imaging.perturb import PERTURBATIONS
from medinterp.phantom import weights_directory
from medinterp.phantom.films import TEST_SEEDS_START, draw_film, sample_film
from medinterp.types import Film

SIZES = ((450, 500), (500, 450), (480, 360), (320, 400), (600, 500))


def film(k: int) -> Film:
    """A film that no description has seen."""
    return Film(draw_film(sample_film(TEST_SEEDS_START + k), *SIZES[k % len(SIZES)]).uint8(), "image/png", str(k))


@pytest.fixture(scope="module")
def phantom() -> FilmDomain:
    """The packaged model's."""
    return read_domain(weights_directory() / "films.json")


def test_its_own_films_are_near(phantom: FilmDomain) -> None:
    told = [k for k in range(300) if phantom.warnings(film(k))]
    assert len(told) <= 3, told


@pytest.mark.parametrize("change", ["noise", "contrast", "crop", "five_pixels", "jpeg", "12 bits"])
def test_slightly_changed_they_still_are(phantom: FilmDomain, change: str) -> None:
    told = 0
    for k in range(60):
        own = film(k)
        if change == "jpeg":
            file = io.BytesIO()
            Image.fromarray(own.pixels).save(file, "JPEG", quality=75)
            changed = read_film(file.getvalue())
        elif change == "12 bits":
            changed = Film((own.pixels.astype(np.uint16) * 257) & 0xFFF0, "image/png", "")
        else:
            changed = PERTURBATIONS[change].apply(own, seed=k, side=256)
        told += bool(phantom.warnings(changed))
    assert told <= 1


def test_other_chests_are_not(phantom: FilmDomain) -> None:
    """The gate's own drawing is a chest, and none of the films that this model has learned from."""
    drawn = drawn_chest(600, 600)
    pixels = np.rint((drawn - drawn.min()) / np.ptp(drawn) * 255).astype(np.uint8)
    (warning,) = phantom.warnings(Film(pixels, "image/png", ""))
    assert (warning.code, warning.withholds) == ("foreign", True)
    assert "made for" in warning.text


def test_the_measurement(phantom: FilmDomain, tmp_path: Path) -> None:
    """A film of each way in, and a chest drawn otherwise, as other departments have it."""
    drawn = drawn_chest(300, 300)
    pixels = np.rint((drawn - drawn.min()) / np.ptp(drawn) * 255).astype(np.uint8)
    done: list[int] = []
    found = evaluate_domain(phantom, 7, {"drawn": [pixels]}, directory=tmp_path, progress=done.append)
    assert (found["films"], sum(done), set(found["by_kind"].values())) == (7, 7, {0.0})
    assert len(found["by_kind"]) == 7 and found["furthest"] < phantom.threshold
    told = found["foreign"]["drawn"]
    assert told["variants"] == len(variants(pixels)) > 20
    assert told["told"]["value"] >= told["domain_alone"]["value"] > 0.9
    assert len(told["missed"]) == round((1 - told["told"]["value"]) * told["variants"])
    blind = FilmDomain(phantom.mean, phantom.covariance, 1e9, phantom.films)
    missed = evaluate_domain(blind, 1, {"drawn": [pixels]}, directory=tmp_path)["foreign"]["drawn"]
    assert missed["domain_alone"]["value"] == 0.0


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    domain = fit_domain(film(k) for k in range(110))
    domain.save(tmp_path / "films.json")
    again = read_domain(tmp_path / "films.json")
    assert again.films == 110
    for k in range(5):
        assert again.distance(film(k).pixels) == pytest.approx(domain.distance(film(k).pixels), rel=1e-2)
    with pytest.raises(ModelError, match="100 films at least; there are 3"):
        fit_domain(film(k) for k in range(3))


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries.pop("mean"),
        lambda entries: entries.update(threshold=-1),
        lambda entries: entries.update(threshold=float("nan")),
        lambda entries: entries.update(frequencies=9),
        lambda entries: entries.update(mean=[1.0]),
        lambda entries: entries.update(covariance=[0.0] * len(entries["covariance"])),
        lambda entries: entries.update(covariance="x"),
    ],
)
def test_a_broken_description_is_refused(tmp_path: Path, change: object) -> None:
    entries = json.loads((weights_directory() / "films.json").read_text())
    change(entries)  # type: ignore[operator]
    (tmp_path / "films.json").write_text(json.dumps(entries))
    with pytest.raises(ModelError, match="no description of films that `medinterp domain` wrote"):
        read_domain(tmp_path / "films.json")
    (tmp_path / "films.json").write_text("{")
    with pytest.raises(ModelError, match="no description"):
        read_domain(tmp_path / "films.json")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "films.json"
    assert main(["domain", "--out", str(out)]) == 2
    assert "give either films or --synthetic N" in capsys.readouterr().err
    paths = []
    for k in range(100):
        paths.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(draw_film(sample_film(5_500_000 + k), 160, 170).uint8()).save(paths[-1])
    assert main(["domain", *paths, "--out", str(out)]) == 0
    assert "100 films" in capsys.readouterr().out
    assert read_domain(out).films == 100
