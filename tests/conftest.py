"""What holds for all tests."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Let Ray Serve be imported: its own models use a form of Field that Pydantic is about to drop."""
    warning = "ignore:Using extra keyword arguments on `Field` is deprecated"
    config.addinivalue_line("filterwarnings", f"{warning}:pydantic.warnings.PydanticDeprecatedSince20")
