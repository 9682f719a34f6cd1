"""Programs of other packages that tests compare with."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """The program's path; the test is skipped without it, and fails where MEDINTERP_REQUIRE_ALL is set."""
    found = shutil.which(name)
    if found is None:
        told = f"{name} is not installed (Debian's package {package})"
        if os.environ.get("MEDINTERP_REQUIRE_ALL"):
            pytest.fail(told)
        pytest.skip(told)
    return found
