"""The benchmark: certificates, scores of a film, and the table that comes of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medinterp.cli import main
from medinterp.evaluation.benchmark.certified import COLLAPSE_NATS, STEADY_NATS, Certificates, certify, redrawn
from medinterp.evaluation.benchmark.film import PRIORS, Plan, score_film
from medinterp.evaluation.benchmark.maps import COARSE, EXACT, JOINED, THOROUGH
from medinterp.evaluation.benchmark.memory import with_peak
from medinterp.evaluation.benchmark.page import page
from medinterp.evaluation.benchmark.randomised import randomised
from medinterp.evaluation.benchmark.run import _made_by
from medinterp.evaluation.benchmark.summary import markdown, summarise
from medinterp.evaluation.grammar import determined_words
from medinterp.evaluation.intervals import hierarchical_mean
from medinterp.evaluation.localisation import mean_masks
from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.model import Generator, LoadedModel, load_model
from medinterp.phantom.films import draw_film
from medinterp.relevancy import METHODS
from medinterp.report.builder import build_report
from medinterp.types import Report

FILM = 10_900_003


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("phantom")


def test_a_token_is_certified_when_one_finding_alone_drives_it() -> None:
    removal = np.array([[3.0, 3.0, 0.1, 3.0], [0.0, 3.0, 3.0, 0.0]])
    redrawing = np.array([0.0, 0.0, 0.0, 1.0])
    assert COLLAPSE_NATS < 3.0
    assert STEADY_NATS < 1.0
    found = Certificates(removal, redrawing)
    assert found.tokens(0) == [0]
    assert found.tokens(1) == [2]


def test_redrawing_keeps_the_findings_and_changes_the_rest() -> None:
    synthetic, width, height = next(unseen_films(1, FILM))
    before, after = draw_film(synthetic, width, height), draw_film(redrawn(synthetic, 0), width, height)
    for one, other in zip(before.masks, after.masks, strict=True):
        assert (one == other).mean() > 0.99
    assert np.abs(before.pixels - after.pixels).mean() > 0.003
    again = draw_film(redrawn(synthetic, 1), width, height)
    assert np.abs(again.pixels - after.pixels).mean() > 0.003


def test_certificates_are_what_forwards_on_the_counterfactuals_say(loaded: LoadedModel) -> None:
    synthetic, width, height = next(unseen_films(1, FILM))
    film, _ = film_of(synthetic, width, height)
    generator = Generator(loaded)
    generation = generator.generate([film])
    prompt, ids = generation.trace.provenance.prompt, [t.token_id for t in generation.report.tokens]
    found = certify(loaded, synthetic, width, height, ids, prompt)
    without, _ = film_of(synthetic.without(0), width, height)
    forced = generator.force([without], ids, prompt)
    lost = generation.trace.token_logprob - forced.trace.token_logprob
    np.testing.assert_allclose(found.removal[0], lost, atol=2e-3)
    assert found.removal.max() > COLLAPSE_NATS


def test_a_forced_report_is_the_written_one(loaded: LoadedModel) -> None:
    film, _ = film_of(*next(unseen_films(1, FILM)))
    generator = Generator(loaded)
    generation = generator.generate([film])
    forced = generator.force([film], [t.token_id for t in generation.report.tokens])
    assert forced.report.text == generation.report.text
    np.testing.assert_allclose(forced.trace.token_logprob, generation.trace.token_logprob, atol=1e-4)
    np.testing.assert_allclose(forced.trace.image_attention, generation.trace.image_attention, atol=1e-3)
    other = generator.force([film], "LUNGS: No nodule.")
    assert other.report.text == "LUNGS: No nodule."


def test_the_randomised_model_holds_the_same_numbers_elsewhere(loaded: LoadedModel) -> None:
    other = randomised(loaded)
    theirs = dict(other.model.named_parameters())
    for name, parameter in loaded.model.named_parameters():
        assert parameter.unique().numel() == 1 or not torch.equal(parameter, theirs[name])
        assert torch.equal(parameter.flatten().sort().values, theirs[name].flatten().sort().values)
    film, _ = film_of(*next(unseen_films(1, FILM)))
    ids = [t.token_id for t in Generator(loaded).generate([film]).report.tokens]
    assert float(Generator(other).force([film], ids).trace.token_logprob.mean()) < -2


@pytest.fixture(scope="module")
def scored(loaded: LoadedModel) -> dict[str, Any]:
    synthetic, width, height = next(unseen_films(1, FILM))
    plan = Plan(
        thorough=True,
        judged=True,
        controls={"randomised": randomised(loaded)},
        mean_masks=mean_masks(20),
        token_limit=2,
    )
    return dataclasses.asdict(score_film(Generator(loaded), synthetic, width, height, plan))


def test_a_film_is_scored_by_every_method_beside_the_priors(scored: dict[str, Any]) -> None:
    assert scored["tokens"]
    assert 0 < scored["certified"] <= scored["words"]
    names = {*METHODS, COARSE, JOINED, *PRIORS}
    first = scored["tokens"][0]
    assert set(first["methods"]) == names
    for name, scores in first["methods"].items():
        assert 0 <= scores["pointing"] <= 1
        assert 0 <= scores["mass"] <= 1
        assert scores["srg"] == pytest.approx(scores["insertion"] - scores["deletion"], abs=2e-4)
        assert ("spearman" in scores) == (name not in (EXACT, "random"))
        assert ("randomised rho" in scores) == (name not in (*PRIORS, COARSE))
        assert ("randomised pointing" in scores) == (name not in (*PRIORS, COARSE))
    assert first["methods"]["ceiling"]["pointing"] == 1
    assert scored["seconds"][JOINED] > scored["seconds"]["integrated_edge_gradient"]
    assert set(scored["seconds"]) == set(scored["memory"]) == {*METHODS, COARSE, JOINED}
    json.dumps(scored, allow_nan=False)


def test_the_table_says_what_the_films_say(scored: dict[str, Any]) -> None:
    token = {
        "finding": "nodule",
        "size": "1 to 4 cells",
        "methods": {
            "a": {"pointing": 1.0, "mass": 0.5, "covered_mass": 0.25, "miou_otsu": 0.5, "iou_curve": [0.5] * 9}
        },
    }
    miss = {**token, "methods": {"a": {**token["methods"]["a"], "pointing": 0.0}, "slow": token["methods"]["a"]}}
    costs = {"specificity": {}, "seconds": {"a": 2.0}, "memory": {"a": 30.0}}
    film = {"words": 10, "certified": 2, "tokens": [token, miss], **costs}
    empty = {"words": 10, "certified": 0, "tokens": [], "specificity": {}, "seconds": {}, "memory": {}}
    found = summarise({"m": [film, empty, film], "n": [film]})
    assert found["certified_share"] == 6 / 40
    assert found["methods"]["a"]["pointing"]["value"] == 0.5
    assert found["methods"]["slow"]["pointing"]["value"] == 1.0
    assert found["methods"]["a"]["seconds"]["value"] == 2.0
    assert found["methods"]["a"]["memory"]["value"] == 30.0
    assert found["methods"]["a"]["srg"] == {"value": None, "low": None, "high": None}
    assert found["findings"]["nodule"]["tokens"] == 6
    assert "| a | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) | 0.50 |" in markdown(found)
    assert "15.0 % of all tokens" in markdown(found)
    real = summarise({"phantom": [scored]})
    document = page(real)
    assert document.count("<svg") >= 4
    assert "http" not in document.replace("http://www.w3.org", "")


def test_hierarchical_intervals_are_wider_between_models_that_differ() -> None:
    rng = np.random.default_rng(0)
    alike = [[[float(v)] for v in rng.random(200)] for _ in range(3)]
    apart = [[[float(v) + shift] for v in rng.random(200)] for shift in (0, 5, 10)]
    widths = []
    for nested in (alike, apart):
        found = hierarchical_mean(nested, np.random.default_rng(1))
        assert found["low"] is not None and found["high"] is not None
        widths.append(found["high"] - found["low"])
    assert widths[1] > 10 * widths[0]
    assert hierarchical_mean([[[]]], rng) == {"value": None, "low": None, "high": None}


def report_of(text: str) -> Report:
    return build_report(list(range(len(text))), [(k, k + 1) for k in range(len(text))], text, [0.0] * len(text),
                        [()] * len(text), [0.0] * len(text), True)  # fmt: skip


def test_determined_words_have_no_alternative() -> None:
    text = "LUNGS: There is a small nodule in the left upper zone.\nPLEURA: No pleural effusion or pneumothorax."
    report = report_of(text)
    found = [report.words[k].text for k in determined_words(report)]
    assert "zone" in found
    assert "effusion" in found
    for free in ("There", "small", "left", "upper", "No"):
        assert free not in found


def test_the_command_goes_on_where_it_was_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = ["--thorough", "0", "--judged", "0", "--controlled", "0"]
    arguments = ["evaluate", "--maps", "--films", "1", *none, "--work", str(tmp_path / "w")]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.html"}
    (kept,) = (tmp_path / "w").rglob("*.json")
    before = kept.stat().st_mtime_ns
    capsys.readouterr()
    assert main([*arguments, "--json", str(tmp_path / "again.json")]) == 0
    assert kept.stat().st_mtime_ns == before
    assert (tmp_path / "again.json").read_text() == (tmp_path / "out" / "benchmark.json").read_text()
    assert capsys.readouterr().out == (tmp_path / "out" / "benchmark.md").read_text()


def test_scores_of_other_layer_weights_are_kept_apart(loaded: LoadedModel) -> None:
    assert loaded.layer_weights is not None
    names = {_made_by(loaded), _made_by(dataclasses.replace(loaded, layer_weights=loaded.layer_weights[::-1].copy()))}
    names.add(_made_by(dataclasses.replace(loaded, layer_weights=None)))
    assert len(names) == 3


def test_the_peak_is_what_was_held_at_one_time() -> None:
    def hold(size: int) -> int:
        # a mapping of its own: an array may come from the allocator's free list, and stay there when it is freed
        with mmap.mmap(-1, size) as held:
            return sum(held.write(page) for page in itertools.repeat(bytes(2**20), size // 2**20))

    value, peak = with_peak(lambda: hold(60 * 2**20) + hold(40 * 2**20), torch.device("cpu"))
    assert value == 100 * 2**20
    if peak is None:
        pytest.skip("only Linux tells a process's peak")
    assert 58 * 2**20 < peak < 75 * 2**20
    _, again = with_peak(lambda: None, torch.device("cpu"))
    assert again is not None and again < 2 * 2**20


def test_a_film_may_be_scored_without_what_takes_longest(loaded: LoadedModel) -> None:
    synthetic, width, height = next(unseen_films(1, FILM))
    plan = Plan(thorough=False, judged=False, controls={}, mean_masks=mean_masks(20), token_limit=1)
    scores = score_film(Generator(loaded), synthetic, width, height, plan)
    assert set(scores.tokens[0]["methods"]) == {*METHODS, JOINED, *PRIORS} - set(THOROUGH)
    assert all("spearman" not in of for of in scores.tokens[0]["methods"].values())
