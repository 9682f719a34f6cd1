"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.models import noise_film, save_small_model
from tests.served import Served, small_config

if TYPE_CHECKING:
    from medinterp.model import LoadedModel
    from medinterp.model.prompt import PromptInputs


def pytest_configure(config: pytest.Config) -> None:
    """Let Ray Serve be imported: its own models use a form of Field that Pydantic is about to drop."""
    warning = "ignore:Using extra keyword arguments on `Field` is deprecated"
    config.addinivalue_line("filterwarnings", f"{warning}:pydantic.warnings.PydanticDeprecatedSince20")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The whole service over a small random model, started once and ended by Ctrl-C."""
    model = save_small_model(tmp_path_factory.mktemp("model"), seed=5)
    other, broken = save_small_model(tmp_path_factory.mktemp("other"), seed=6), tmp_path_factory.mktemp("broken")
    (broken / "config.json").write_text("{}")

    def config(name: str, directory: Path, port: int) -> dict[str, Any]:
        made = small_config(name, directory, port)
        others = [{"name": str(other), "alias": "other"}, {"name": str(broken), "alias": "broken"}]
        made["applications"][0]["args"] |= {"models": others, "max_loaded": 1}
        return made

    service = Served(str(model), config)
    service.other = str(other)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Sliding and full layers, 256 image cells, random weights."""
    from medinterp.model import load_model

    return load_model(str(save_small_model(tmp_path_factory.mktemp("model"))), image_first=False)


@pytest.fixture(scope="module", params=[1, 2], ids=["one film", "two films"])
def prompt(request: pytest.FixtureRequest, loaded: LoadedModel) -> PromptInputs:
    """Of one film, and of two."""
    from medinterp.model.prompt import build_prompt

    return build_prompt(loaded, [noise_film(k) for k in range(request.param)], "Describe.")


@pytest.fixture(scope="module")
def tokens(loaded: LoadedModel) -> list[int]:
    """A short report's."""
    ids: list[int] = loaded.processor.tokenizer("No tube. Small nodule.", add_special_tokens=False)["input_ids"]
    return ids
