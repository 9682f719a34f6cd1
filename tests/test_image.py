"""k8s/Dockerfile, which no test builds: linted, and held against what it copies, the locks and KubeRay's needs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.k8s_build import OVERLAYS, ROOT, build, ray_pods

FILE = ROOT / "k8s" / "Dockerfile"
TEXT = FILE.read_text()


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stage that it is made from before its own."""
    found: dict[str, list[tuple[str, str]]] = {}
    lines = [line for line in TEXT.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    name = ""
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            source, _, name = rest.partition(" AS ")
            found[name] = list(found.get(source, []))
        found[name].append((word, rest.strip()))
    return found


def test_hadolint_has_nothing_to_say() -> None:
    program = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([program, str(FILE)], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (0, "")


def test_the_base_is_pinned_and_is_the_python_of_the_tests() -> None:
    (base,) = {rest.partition(" AS ")[0] for name, stage in stages().items() for word, rest in stage[:1]}
    version = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert version and version.group(1) == "{}.{}".format(*sys.version_info)


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_it_ends_as_a_user_by_number_and_the_manifests_name_the_same(target: str) -> None:
    """By number: Kubernetes cannot tell of a name whether it is root."""
    users = [rest for word, rest in stages()[target] if word == "USER"]
    assert users[-1] == "1000:1000"
    assert "--uid 1000" in TEXT
    for overlay in OVERLAYS:
        for pod in ray_pods(build(overlay)).values():
            context = pod["spec"]["securityContext"]
            assert users[-1] == f"{context['runAsUser']}:{context['runAsGroup']}"


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_kuberays_probe_finds_its_programs(target: str) -> None:
    (line,) = [rest for word, rest in stages()[target] if word == "RUN" and "apt-get install" in rest]
    assert {"bash", "wget", "grep"} <= set(shlex.split(line.partition("install")[2].partition("&&")[0]))
    paths = [rest for word, rest in stages()[target] if word == "ENV" and rest.startswith("PATH=")]
    assert paths == ["PATH=/opt/medinterp/bin:$PATH"]  # `ray` is called by its name
    assert not {"HEALTHCHECK", "ENTRYPOINT"} & {word for word, _ in stages()[target]}


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path from the build: the last rule that fits it, or a folder above it, decides."""
    places = [path, *map(str, Path(path).parents)][:-1]
    out = False
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            anywhere, pattern = "**/" in rule, rule.removeprefix("!").removeprefix("**/")
            if any(fnmatch(Path(place).name if anywhere else place, pattern) for place in places):
                out = not rule.startswith("!")
    return out


def test_what_is_copied_is_there_and_is_let_through() -> None:
    copied = {
        source
        for stage in stages().values()
        for word, rest in stage
        if word == "COPY"
        for source in rest.split()[:-1]
    }
    assert {"medinterp", "deployments", "pyproject.toml", ".ci/runtime.lock"} <= copied
    for source in copied:
        assert (ROOT / source).exists() and not ignored(source), source


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        "tests/conftest.py",
        ".venv/bin/python",
        "medinterp/api/__pycache__/app.cpython-311.pyc",
        "constraints.txt",
        ".ci/dev.lock",
        "k8s/README.md",
    ],
)
def test_what_does_not_belong_into_an_image_stays_out(path: str) -> None:
    assert ignored(path)


def test_torch_is_the_one_that_is_pinned() -> None:
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert re.findall(r"torch==([\w.]+)", TEXT) == [pinned]
    (ray,) = re.findall(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    from tests.k8s_build import ray_service

    assert {ray_service(build(overlay))["spec"]["rayClusterConfig"]["rayVersion"] for overlay in OVERLAYS} == {ray}


def test_all_else_is_installed_by_hash() -> None:
    installs = re.findall(r"pip install ([^\n&]+)", TEXT)
    assert len(installs) >= 4
    for install in installs:
        assert "--no-deps" in install
        by_hash = "--require-hashes" in install
        assert by_hash or install.endswith("/wheels/*.whl") or "download.pytorch.org/whl/cpu torch==" in install
