"""axe-core, which finds faults of accessibility in a page: fetched from npm once, never committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

VERSION = "4.14.1"


def axe_script() -> str:
    """The text of axe.min.js. Skips where npm has it not, unless MEDINTERP_REQUIRE_ALL=1: then it fails."""
    cache = Path(os.environ.get("MEDINTERP_TEST_CACHE", Path.home() / ".cache" / "medinterp-tests")) / f"axe-{VERSION}"
    script = cache / "package" / "axe.min.js"
    if not script.is_file():
        try:
            _fetch(cache)
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"axe-core could not be fetched by `npm pack axe-core@{VERSION}`: {error}"
            if os.environ.get("MEDINTERP_REQUIRE_ALL") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
    return script.read_text(encoding="utf-8")


def _fetch(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError("npm is not installed")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", "--silent", f"axe-core@{VERSION}"]
    done = subprocess.run(command, cwd=cache, check=True, capture_output=True, text=True, timeout=600)
    archive = cache / done.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as package:
        package.extract("package/axe.min.js", cache, filter="data")
    archive.unlink()
