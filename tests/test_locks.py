"""The locks of .ci/: whole, of what pyproject.toml asks for, what is installed here, and audited in earnest."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LOCKS = ("build", "runtime", "dev", "torch")
RUNTIME = ("model", "dicom", "serve", "audit")
"""The extras that the service and the image are made of."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Locked(NamedTuple):
    """One entry of a lock."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert only.operator == "=="
        return only.version


def lock(name: str) -> dict[str, list[Locked]]:
    """A lock's entries by the package's name; more than one where versions differ by platform."""
    text = (ROOT / ".ci" / f"{name}.lock").read_text()
    found: dict[str, list[Locked]] = {}
    for entry in re.sub(r"^\s*#.*$|\\\n", "", text, flags=re.M).splitlines():
        if entry.strip():
            words, *hashes = entry.partition(" # ")[0].split("--hash=")
            requirement = Requirement(words.strip())
            entries = found.setdefault(canonicalize_name(requirement.name), [])
            entries.append(Locked(requirement, tuple(one.strip() for one in hashes)))
    return found


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for, by itself and with extras, and with those that they name."""
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    found: list[Requirement] = []
    for requirement in map(Requirement, lines):
        found += asked(tuple(requirement.extras)) if requirement.name == PROJECT["name"] else [requirement]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_entry_has_its_version_and_hashes_and_no_address(name: str) -> None:
    for entries in lock(name).values():
        for entry in entries:
            assert entry.version and entry.hashes and entry.requirement.url is None
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in entry.hashes)
    text = (ROOT / ".ci" / f"{name}.lock").read_text()
    assert "://" not in text and not re.search(r"^\s*-", re.sub(r"^    --hash.*$", "", text, flags=re.M), re.M)


@pytest.mark.parametrize(
    ("name", "extras"), [("runtime", RUNTIME), ("dev", tuple(PROJECT["optional-dependencies"]))]
)
def test_what_pyproject_asks_for_is_locked_in_its_range(name: str, extras: tuple[str, ...]) -> None:
    """After a change there: .ci/lock."""
    entries = lock(name) | {"torch": lock("torch")["torch"]}
    for requirement in asked(extras):
        for entry in entries[canonicalize_name(requirement.name)]:
            assert entry.version in requirement.specifier, str(requirement)


def test_constraints_are_what_is_locked() -> None:
    everything = {name: {entry.version for entry in entries} for one in LOCKS for name, entries in lock(one).items()}
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] not in "#"]
    assert len(pins) > 30
    for pin in pins:
        (only,) = pin.specifier
        assert everything[canonicalize_name(pin.name)] == {only.version}


def test_locks_agree_and_what_is_run_is_what_is_tested() -> None:
    runtime, dev, torch = lock("runtime"), lock("dev"), lock("torch")
    for name, entries in runtime.items():
        assert [(one.version, one.hashes) for one in dev[name]] == [(one.version, one.hashes) for one in entries], name
    for name in set(torch) & set(runtime):
        assert {entry.version for entry in torch[name]} == {entry.version for entry in runtime[name]}
    assert not [name for name in dev if re.match("(torch|triton|nvidia-|cuda-)", name)]


def test_nothing_is_missing_of_what_the_locked_packages_need() -> None:
    """They are installed without looking at dependencies, so the lock itself must be closed."""
    names = {**lock("dev"), **lock("torch"), "pip": []}  # of every environment
    for name in lock("dev"):
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, needs):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in names, f"{name} needs {requirement}"


def test_what_is_installed_is_what_is_locked() -> None:
    """Otherwise the tests try other packages than those that are run: make install, or .ci/lock."""
    wrong = {}
    for name, entries in {**lock("build"), **lock("dev"), "torch": lock("torch")["torch"]}.items():
        for entry in entries:
            if entry.requirement.marker is None or entry.requirement.marker.evaluate():
                try:
                    there = Version(importlib.metadata.version(name)).public  # torch's +cpu is the same release
                except importlib.metadata.PackageNotFoundError:
                    there = "missing"
                if there != entry.version:
                    wrong[name] = f"{there} instead of {entry.version}"
    assert wrong == {}


AUDIT = """#!{python}
import json, sys
known = "known.txt" in " ".join(sys.argv)
answer = json.loads({answer!r})["known" if known else "locks"]
print(json.dumps({{"dependencies": answer, "fixes": []}}) if answer is not None else "")
"""
FLAW = {"id": "PYSEC-1", "fix_versions": ["3.1"], "aliases": [], "description": ""}
KNOWN = [{"name": "jinja2", "version": "2.4.1", "vulns": [FLAW]}]
GOOD = {"name": "six", "version": "1.17.0", "vulns": []}
BAD = {"name": "jinja2", "version": "3.0", "vulns": [FLAW]}
SKIPPED = {"name": "six", "skip_reason": "Dependency not found on PyPI and could not be audited: six (1.17.0)"}


@pytest.mark.parametrize(
    ("known", "locks", "status", "said"),
    [
        (KNOWN, [GOOD], 0, "1 audited, 0 skipped, 0 vulnerable"),
        (KNOWN, [GOOD, BAD], 1, "jinja2 3.0: PYSEC-1, mended by 3.1"),
        (KNOWN, [SKIPPED], 1, "0 audited, 1 skipped"),
        (KNOWN, [], 1, "0 audited"),
        (KNOWN, None, 1, "0 audited"),
        ([{"name": "jinja2", "skip_reason": "not found"}], [SKIPPED], 0, "NOT AUDITED"),
        ([{"name": "jinja2", "version": "2.4.1", "vulns": []}], [GOOD], 0, "NOT AUDITED"),
        (None, None, 0, "NOT AUDITED"),
    ],
    ids=["clean", "vulnerable", "all skipped", "empty", "no JSON", "unreachable", "does not know", "broken"],
)
def test_an_audit_that_looked_at_nothing_does_not_pass_for_one(
    tmp_path: Path, known: object, locks: object, status: int, said: str
) -> None:
    """By a stand-in for pip-audit: what its answers mean is decided by .ci/audit.py."""
    program = tmp_path / "pip-audit"
    program.write_text(AUDIT.format(python=sys.executable, answer=json.dumps({"known": known, "locks": locks})))
    program.chmod(0o755)
    answer = subprocess.run(
        [sys.executable, ".ci/audit.py"], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "PIP_AUDIT": str(program)},
    )
    assert answer.returncode == status
    assert said in answer.stdout
    assert ("NOT AUDITED" in answer.stdout) == (said == "NOT AUDITED")
