"""The hub: each thing that can go wrong there has its own sentence, and offline no connection is opened.

A server on 127.0.0.1 answers as huggingface.co does, a process of its own asks it: the hub's library reads its address
when it is imported.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from models import save_small_model

from medinterp.errors import ModelError, ModelNotFoundError
from medinterp.model import checkpoint
from medinterp.model.hub import snapshot

ROOT = Path(__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FAULTS = {
    "owner/gated": (403, "GatedRepo", "Access to model owner/gated is restricted"),
    "owner/nowhere": (404, "RepoNotFound", "Repository not found"),
    "owner/private": (401, "RepoNotFound", "Invalid username or password."),
    "owner/token": (401, None, "Invalid credentials in Authorization header"),
    "owner/down": (500, None, "down"),
}
SCRIPT = """
import json, socket, sys
from medinterp.errors import ModelError
from medinterp.model.checkpoint import choose
for name, options in json.loads(sys.argv[1]):
    if options.pop("no_sockets", False):
        def refuse(*_, **__):
            raise AssertionError("a connection was opened")
        socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
    try:
        chosen = choose(name, **options)
        print(json.dumps([chosen.revision, sorted(path.name for path in chosen.base.directory.iterdir())]))
    except ModelError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


class Hub(BaseHTTPRequestHandler):
    """One repository with files, and those of FAULTS."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        for name, (status, code, text) in FAULTS.items():
            if name in self.path:
                return self.answer(status, {"error": text}, code)
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/model/revision/") and not path.endswith(("main", COMMIT)):
            return self.answer(404, {"error": "Invalid rev id"}, "RevisionNotFound")
        if "/tree/" in path:
            return self.answer(200, [
                {"type": "file", "path": name, "oid": f"{len(data):040x}", "size": len(data)}
                for name, data in self.files.items()
            ])
        if path.startswith("/api/models/owner/model"):
            siblings = [{"rfilename": name} for name in self.files]
            return self.answer(200, {"id": "owner/model", "sha": COMMIT, "siblings": siblings})
        return self.file(self.files[path.rsplit("/", 1)[1]])

    def answer(self, status: int, told: object, code: str | None = None) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        if code is not None:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", str(told))
        self.body(body)

    def file(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{len(data):040x}"')
        self.body(data)

    def body(self, data: bytes) -> None:
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[list[object]]:
    """What one process was told: the repository, five faults, another revision, then the cache without sockets."""
    saved = save_small_model(tmp_path_factory.mktemp("model"))
    cache, server = tmp_path_factory.mktemp("hub"), ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.files = {path.name: path.read_bytes() for path in saved.iterdir()}
    Hub.files |= {"pytorch_model.bin": b"pickled", "code.py": b"raise SystemExit", "other.safetensors": b"unasked"}
    (cache / "secret").write_text("hf_fromafile\n")
    asked = [["owner/model", {}], *[[name, {}] for name in FAULTS]]
    asked += [["owner/model", {"revision": "v9"}], ["owner/model", {"revision": COMMIT}]]
    asked += [["owner/model", {"allow_download": False, "no_sockets": True}], ["a/b", {"allow_download": False}]]
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, json.dumps(asked)], capture_output=True, text=True, check=False, cwd=ROOT,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))},
                "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
                "HF_HUB_CACHE": str(cache / "hub"), "HF_HOME": str(cache), "HF_TOKEN_PATH": str(cache / "secret"),
                "HF_HUB_DISABLE_XET": "1",
            },
        )
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_asked_for_is_fetched_and_no_more(answers: list[list[object]]) -> None:
    revision, names = answers[0]
    assert revision == COMMIT
    assert "model.safetensors" in names and "config.json" in names
    assert not {"pytorch_model.bin", "code.py", "other.safetensors"} & set(names)
    assert answers[7] == answers[0]


def test_the_token_is_that_of_the_mounted_file(answers: list[list[object]]) -> None:
    assert {token for path, token in Hub.asked if "/api/models/" in path} == {"Bearer hf_fromafile"}


@pytest.mark.parametrize(
    ("place", "match"),
    [
        (1, "owner/gated is gated: visit"),
        (2, "has no repository owner/nowhere"),
        (3, "has no repository owner/private, or a private one"),
        (4, "refused the token"),
        (5, "owner/down"),
        (6, "has no revision 'v9'"),
        (9, "Downloads are switched off here"),
    ],
)
def test_each_fault_has_its_sentence(answers: list[list[object]], place: int, match: str) -> None:
    kind, told = answers[place]
    assert kind == "ModelNotFoundError"
    assert match in str(told)


def test_from_the_cache_no_connection_is_opened(answers: list[list[object]]) -> None:
    assert answers[8] == answers[0]


def test_an_index_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("[")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match="not an index"):
        snapshot("owner/model", None, allow_download=True)


def test_without_a_network_the_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def refuse(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("Got: ConnectError")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(ModelNotFoundError, match="cannot be reached"):
        checkpoint.locate("owner/model")
