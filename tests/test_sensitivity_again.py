"""The comparison of a report that is there, by the facade."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medinterp import Explainer, Explanation
from medinterp.errors import GenerationCancelled, PromptError, ReportTextError, SelectionError, UnknownMethodError
from medinterp.evaluation.sensitivity import Comparison, ReportComparison
from medinterp.imaging.perturb import PERTURBATIONS
from tests.models import noise_film, save_small_model

QUESTIONS = ("Is there a nodule?", "Small nodule?")


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    """A small random model."""
    return Explainer.from_pretrained(str(save_small_model(tmp_path_factory.mktemp("model"), seed=3)), check=False)


@pytest.fixture(scope="module")
def explanation(explainer: Explainer) -> Explanation:
    methods = ("raw", "value_weighted")
    return explainer.explain(noise_film(1), prompt="Describe the film.", methods=methods, max_new_tokens=7)


def test_questions_are_asked_of_the_reports_film(explainer: Explainer, explanation: Explanation) -> None:
    told: list[tuple[int, int]] = []
    found = explainer.sensitivity(explanation, QUESTIONS, progress=lambda done, of: told.append((done, of)))
    assert isinstance(found, Comparison)
    assert found.film_sha256 == explanation.film.sha256
    assert (found.methods, found.perturbations) == (("raw",), tuple(PERTURBATIONS))
    assert told == [(done, 7) for done in range(1, 8)]
    asked = explainer.sensitivity(explanation, QUESTIONS[:1], methods=(), perturbations=("crop",), seed=4)
    assert (asked.methods, asked.perturbations, asked.seed) == ((), ("crop",), 4)
    assert [(one.name, one.shifts) for one in asked.variants] == [("crop", ())]


def test_questions_can_be_asked_of_a_given_report(explainer: Explainer) -> None:
    given = explainer.explain(noise_film(1), report="No nodule. A zebra.", methods=("raw",))
    assert given.provenance.given
    asked = explainer.sensitivity(given, QUESTIONS[:1], perturbations=("crop",))
    assert isinstance(asked, Comparison)
    assert (asked.film_sha256, asked.methods) == (given.film.sha256, ("raw",))


def test_without_questions_the_report_is_written_again(explainer: Explainer, explanation: Explanation) -> None:
    told: list[tuple[int, int]] = []
    found = explainer.sensitivity(
        explanation, methods=("value_weighted",), perturbations=("contrast",), progress=lambda *one: told.append(one)
    )
    assert isinstance(found, ReportComparison)
    assert (found.prompt, found.report) == (explanation.provenance.prompt, explanation.report.text)
    assert (found.max_new_tokens, found.methods) == (7, ("value_weighted",))
    assert told == [(1, 2), (2, 2)]


def test_what_cannot_be_asked_is_refused_before_the_model_is_asked(
    explainer: Explainer, explanation: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(explainer.loaded.model), "forward", lambda *_, **__: pytest.fail("the model was asked"))
    with pytest.raises(PromptError, match="control tokens"):
        explainer.sensitivity(explanation, (*QUESTIONS, "<start_of_turn>user"))
    with pytest.raises(SelectionError, match="blur"):
        explainer.sensitivity(explanation, QUESTIONS, perturbations=("blur",))
    with pytest.raises(UnknownMethodError):
        explainer.sensitivity(explanation, QUESTIONS, methods=("tea leaves",))
    given = replace(explanation, provenance=replace(explanation.provenance, given=True))
    with pytest.raises(ReportTextError, match="without `report`"):
        explainer.sensitivity(given)
    with pytest.raises(SelectionError, match="two films"):
        explainer.sensitivity(replace(explanation, prior=explanation.film), QUESTIONS)
    with pytest.raises(GenerationCancelled):
        explainer.sensitivity(explanation, cancelled=lambda: True)


def test_replicas_that_hand_comparisons_on_never_load_torch() -> None:
    script = "import sys, deployments.backend, medinterp.api.app, medinterp.evaluation.sensitivity\n"
    script += "print('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "False"
