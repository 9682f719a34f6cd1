"""What a report is asked with: the instruction and the indication, over HTTP and from the clients."""

# ruff: noqa: F811 - a fixture is imported, and named again where it is used

from __future__ import annotations

import logging
from typing import Any

import pytest

from medinterp.client.calls import report as call
from tests.api_backend import png
from tests.api_service import Service, problem, service  # noqa: F401 - pytest finds fixtures by name


def post(service: Service, **form: Any) -> Any:
    return service.client.post("/reports", files={"image": ("a.png", png())}, data=form)


def test_they_reach_the_model(service: Service) -> None:
    assert post(service, prompt="Read it.", system="Be brief.", indication=" cough,\r\nfever ").status_code == 201
    task = service.backend.tasks[-1]
    assert (task.prompt, task.system, task.indication) == ("Read it.", "Be brief.", "cough,\nfever")
    assert post(service, prompt="", system="", indication=" ").status_code == 201
    task = service.backend.tasks[-1]
    assert (task.prompt, task.system, task.indication) == (None, "", None), "an empty instruction is none at all"
    assert post(service).status_code == 201
    assert service.backend.tasks[-1].system is None, "the service's own"


def test_all_of_it_counts_and_nothing_of_it_is_told(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        said = problem(post(service, indication="Mrs DOE " * 1200), 422)
        assert post(service, indication="Mrs DOE coughs").status_code == 201
    assert "longer than" in said["detail"] and "DOE" not in str(said)
    assert "DOE" not in caplog.text
    twice = service.client.post(
        "/reports", files=[("image", ("a.png", png())), ("indication", (None, "a")), ("indication", (None, "b"))]
    )
    assert "more than once" in problem(twice, 422)["detail"]


def test_the_client_sends_them(service: Service) -> None:
    sent = call(png(), {"system": "", "indication": "cough"})
    assert (sent.form["system"], sent.form["indication"]) == ("", "cough")
