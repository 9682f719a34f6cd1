"""Sensitivity on models: the margins of given answers, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from models import noise_film, save_small_model

from medinterp.cli import main
from medinterp.errors import GenerationCancelled
from medinterp.evaluation.sensitivity import compare, margins
from medinterp.evaluation.sensitivity.margins import END, decisive, forced_logprobs, forced_margins
from medinterp.evaluation.sensitivity.results import Margin
from medinterp.imaging.perturb import PERTURBATIONS
from medinterp.model import Generator, load_model
from medinterp.model.prompt import build_prompt
from medinterp.types import Film, Generation

# ---- margins ----


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """A small random model."""
    return Generator(load_model(str(save_small_model(tmp_path_factory.mktemp("model"), seed=3))))


@torch.no_grad()
def test_margins_are_those_of_the_models_own_distribution(small: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, film, ids = small.loaded, noise_film(1), [40, 300, 12, 40]
    prompt = build_prompt(loaded, [film], "Is there a nodule?")
    answer = torch.tensor(ids)
    output = loaded.model(
        input_ids=torch.cat([prompt.input_ids, answer])[None],
        token_type_ids=torch.cat([prompt.token_type_ids, torch.zeros_like(answer)])[None],
        pixel_values=prompt.pixel_values,
    )
    logprobs = output.logits[0, prompt.length - 1 :].log_softmax(-1)
    logprobs[:, loaded.facts.image_token_id] = -torch.inf
    ending = sorted(loaded.facts.eos_token_ids)
    expected = []
    for row, token in zip(logprobs, ids, strict=False):
        others = row.clone()
        others[token] = -torch.inf
        expected.append(float(row[token] - others.max()))
    others = logprobs[-1].clone()
    others[ending] = -torch.inf
    expected.append(float(logprobs[-1, ending].max() - others.max()))
    monkeypatch.setattr(margins, "_VOCABULARY_PART", 37)
    found = forced_margins(loaded, film, "Is there a nodule?", ids, end=True)
    assert [one.nats for one in found] == pytest.approx(expected, abs=1e-3)
    assert found[-1].token == END and found[0].token == loaded.processor.tokenizer.decode([40])
    rival = int(others.argmax())
    assert found[-1].rival == loaded.processor.tokenizer.decode([rival])
    without = forced_margins(loaded, film, "Is there a nodule?", ids, end=False)
    assert [one.nats for one in without] == pytest.approx(expected[:-1], abs=1e-3)
    forced = forced_logprobs(loaded, film, "Is there a nodule?", ids)
    assert forced.tolist() == pytest.approx([float(logprobs[k, token]) for k, token in enumerate(ids)], abs=1e-3)


def test_an_answer_is_decided_where_it_is_left() -> None:
    one, two, three = (Margin(nats, "a", "b") for nats in (2.0, -1.0, -9.0))
    assert decisive([one, two, three]) is two
    assert decisive([Margin(3.0, "a", "b"), one]) is one


def test_a_margin_is_above_zero_where_the_answer_is_written_again(small: Generator) -> None:
    questions = ["Is there a nodule?", "Small nodule?", "Is the heart enlarged?", "No consolidation", "Tube?"]
    result = compare(small, noise_film(2), questions, methods=["raw", "edge_gradient"], max_new_tokens=4)
    assert not result.yes_no
    assert result.margin.nats > 0.0
    assert any(variant.changed for variant in result.variants)
    for variant in result.variants:
        if variant.answer == result.answer:
            assert variant.margin.nats > 0.0
        elif "".join(variant.answer.split()).casefold() != "".join(result.answer.split()).casefold():
            assert variant.margin.nats < 0.0
        assert [shift.method for shift in variant.shifts] == ["raw", "edge_gradient"]
        assert variant.margin_change == pytest.approx(variant.margin.nats - result.margin.nats)
    again = compare(small, noise_film(2), questions, methods=["raw", "edge_gradient"], max_new_tokens=4)
    assert again == result


def test_a_caller_who_went_away_is_not_worked_for(small: Generator) -> None:
    with pytest.raises(GenerationCancelled):
        compare(small, noise_film(2), ["Q?"], cancelled=lambda: True)


# ---- the command ----


def test_the_command_asks_prints_keeps_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        assert cv2.imwrite(str(tmp_path / name), noise_film(len(name) + ord(name[0]), 120, 100).pixels)
    table, out = tmp_path / "questions.csv", tmp_path / "out.json"
    table.write_text(
        "film,group,question\na.png,nodule,Is there a nodule?\na.png,nodule,Where is the nodule?\n"
        "b.png,heart,Is the heart enlarged?\n"
    )
    arguments = ["sensitivity", "--csv", str(table), "--method", "raw", "--perturbation", "flip", "--json", str(out)]
    assert main(arguments) == 2, "noise is no film of the packaged model's"
    assert "This is noise" in capsys.readouterr().err
    arguments.append("--force")
    generate = Generator.generate

    def stopped(self: Generator, films: Sequence[Film], prompt: str | None = None, **options: Any) -> Generation:
        if prompt == "Is the heart enlarged?":
            raise KeyboardInterrupt
        return generate(self, films, prompt, **options)

    monkeypatch.setattr(Generator, "generate", stopped)
    assert main(arguments) == 130
    assert not out.exists()
    asked: list[str | None] = []

    def counted(self: Generator, films: Sequence[Film], prompt: str | None = None, **options: Any) -> Generation:
        asked.append(prompt)
        return generate(self, films, prompt, **options)

    monkeypatch.setattr(Generator, "generate", counted)
    capsys.readouterr()
    assert main(arguments) == 0
    assert set(asked) == {"Is the heart enlarged?"}
    printed = capsys.readouterr().out
    assert "2 group(s) of questions on 2 film(s)" in printed
    result = json.loads(out.read_text())
    assert [group["film"] for group in result["groups"]] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    # "Where is it?" is no paraphrase of "Is there one?", and is found out.
    where, flipped = result["groups"][0]["variants"]
    assert where["changed"] and where["margin"]["nats"] < 0 and where["shifts"][0]["other_answer"]
    assert flipped["name"] == "flip"
    assert result["summary"]["consistency"] == {"value": 0.0, "low": None, "high": None}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "out.json", "questions.csv"]


def test_the_command_compares_reports_without_questions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["phantom", "film", "--seed", "7", "--size", "300x260", "--out", str(tmp_path)])
    capsys.readouterr()
    film, out = str(tmp_path / "film-7.png"), tmp_path / "out.json"
    assert main(["sensitivity", film, "--perturbation", "contrast", "--method", "raw", "--json", str(out)]) == 0
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result["variants"][0]["name"] == "contrast" and "IMPRESSION" in result["report"]
    names = {finding["name"] for finding in result["variants"][0]["findings"]}
    assert names and all(name in printed for name in names)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "either a film or --csv"),
        (["film.png", "--csv", "q.csv"], "either a film or --csv"),
        (["--csv", "q.csv", "--prompts", "q.txt"], "--prompts"),
        (["film.png", "--prompts", "missing.txt"], "cannot read missing.txt"),
        (["missing.png"], "cannot read missing.png"),
        (["film.png", "--method", "tea leaves"], "no method 'tea leaves'"),
        (["film.png", "--perturbation", "blur"], "no perturbation 'blur'"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_every_perturbation_reaches_the_model(small: Generator) -> None:
    """None of them vanishes when the film is squashed to the model's input."""
    slope = np.linspace(10, 245, 900) * np.linspace(0.4, 1.0, 700)[:, None]
    film = Film(slope.astype(np.uint8), "image/png", "")
    inputs = build_prompt(small.loaded, [film], "Q?").pixel_values
    for change in PERTURBATIONS.values():
        changed = change.apply(film, seed=0, side=small.loaded.facts.image_size)
        moved = (build_prompt(small.loaded, [changed], "Q?").pixel_values - inputs).abs().amax(dim=(0, 1)) / 2
        assert int((moved > 0.05).sum()) >= 5, change.name
