"""What holds for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.models import save_small_model
from tests.served import Served


def pytest_configure(config: pytest.Config) -> None:
    """Let Ray Serve be imported: its own models use a form of Field that Pydantic is about to drop."""
    warning = "ignore:Using extra keyword arguments on `Field` is deprecated"
    config.addinivalue_line("filterwarnings", f"{warning}:pydantic.warnings.PydanticDeprecatedSince20")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The whole service over a small random model, started once and ended by Ctrl-C."""
    model = save_small_model(tmp_path_factory.mktemp("model"), seed=5)
    service = Served(str(model))
    yield service
    service.stop()
