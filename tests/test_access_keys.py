"""Keys in their file, the command that makes them, token buckets, the audit log."""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from medinterp.api.access import keys as key_files
from medinterp.api.access.audit import AuditLog
from medinterp.api.access.buckets import Buckets
from medinterp.api.access.keys import Keys, hash_of, read_keys
from medinterp.api.access.principal import Principal, Visit
from medinterp.cli import main
from medinterp.errors import AccessError, AuditError
from tests.api_access import key_file


def test_the_command_makes_a_key_and_keeps_its_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "secret" / "keys.json"
    assert main(["keys", "new", "--name", "ward", "--scopes", "read", "--file", str(file), "--per-minute", "30"]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("mi_") and len(key) == 3 + 43  # 32 bytes in base64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert key not in file.read_text() and hash_of(key) in file.read_text()
    found = Keys(file).find(key)
    assert found == Principal("ward", "key:ward", frozenset({"read"}), per_minute=30)
    assert Keys(file).find(key[:-1] + ("A" if key[-1] != "A" else "B")) is None

    assert main(["keys", "new", "--name", "ward", "--file", str(file)]) == 2
    assert "--replace" in capsys.readouterr().err
    assert main(["keys", "new", "--name", "ward", "--file", str(file), "--replace"]) == 0
    other = capsys.readouterr().out.strip()
    assert Keys(file).find(key) is None
    replaced = Keys(file).find(other)
    assert replaced is not None and (replaced.owner, replaced.scopes) == ("key:ward", {"read", "write"})

    for wrong in (["--scopes", "read,delete"], ["--scopes", ""], ["--per-minute", "0"], ["--name", "a b"]):
        assert main(["keys", "new", "--name", "x", "--file", str(file), *wrong]) == 2
        assert "mi_" not in capsys.readouterr().out
    assert main(["keys", "list", "--file", str(file)]) == 0
    assert capsys.readouterr().out == "ward\tread,write\tthe settings' limits\n"
    assert main(["keys", "remove", "--name", "ward", "--file", str(file)]) == 0
    assert main(["keys", "remove", "--name", "ward", "--file", str(file)]) == 2
    assert Keys(file).find(other) is None


def test_two_keys_differ_and_have_256_bits() -> None:
    keys = {key_files.new_key() for _ in range(1000)}
    assert len(keys) == 1000 and {len(key) for key in keys} == {46}


def test_a_changed_file_holds_from_the_next_request_on(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    old = key_file(file, ward="read")
    keys = Keys(file)
    assert keys.find(old["ward"]) is not None
    new = key_file(file, ward="read", clinic="write")
    assert keys.find(old["ward"]) is None
    found = keys.find(new["clinic"])
    assert found is not None and found.scopes == {"write"}


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    """A key that was taken out must not go on to hold because the file was damaged meanwhile."""
    file = tmp_path / "keys.json"
    with pytest.raises(AccessError, match="cannot be read"):
        Keys(file)
    key = key_file(file, ward="read")["ward"]
    good = file.read_text()
    keys = Keys(file)
    entry = json.loads(good)["keys"][0]
    for bad, told in (
        ("", "not JSON"),
        ('{"keys": [{"name": "ward"}]}', "holds no list of keys: keys.0.sha256"),
        (json.dumps({"keys": [entry, entry]}), "two keys have the same name"),
        (json.dumps({"keys": [{**entry, "scopes": ["admin"]}]}), "scopes"),
    ):
        file.write_text(bad)
        for _ in range(2):
            with pytest.raises(AccessError, match=told):
                keys.find(key)
    file.unlink()
    with pytest.raises(AccessError, match="cannot be read"):
        keys.find(key)
    file.write_text(good)
    assert keys.find(key) is not None
    file.chmod(0o646)
    with pytest.raises(AccessError, match="chmod o-w"):
        keys.find(key)


def test_every_hash_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.json"
    made = key_file(file, **{f"k{n}": "read" for n in range(5)})
    compared: list[tuple[str, str]] = []
    real = key_files.hmac.compare_digest

    def noted(a: str, b: str) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(key_files.hmac, "compare_digest", noted)
    for key in (made["k0"], made["k4"], "mi_unknown"):
        compared.clear()
        Keys(file).find(key)
        assert [a for a, _ in compared] == [entry.sha256 for entry in read_keys(file).keys]


def test_who_waits_as_told_is_let_in_and_not_before() -> None:
    now = [100.0]
    buckets = Buckets(lambda: now[0])
    ask = ("key", 90.0, 3)  # one in two thirds of a second
    assert [buckets.take(ask) for _ in range(4)] == [0, 0, 0, 1]
    assert buckets.take(("other", 90.0, 3)) == 0
    now[0] += 0.5
    assert buckets.take(ask) == 1  # a refusal has taken nothing, and has not put it off
    now[0] += 0.2
    assert buckets.take(ask) == 0
    slow = ("slow", 2.0, 1)
    assert buckets.take(slow) == 0
    wait = buckets.take(slow)
    assert wait == 30
    now[0] += wait - 1
    assert buckets.take(slow) == 1
    now[0] += 1
    assert buckets.take(slow) == 0
    now[0] += 1e6
    assert [buckets.take(ask) for _ in range(4)] == [0, 0, 0, 1]  # it never holds more than its burst


def test_one_empty_bucket_takes_nothing_from_the_other() -> None:
    buckets = Buckets(lambda: 0.0)
    key, address = ("key", 60.0, 1), ("address", 60.0, 2)
    assert buckets.take(address, key) == 0
    assert buckets.take(address, key) > 0
    assert buckets.take(address) == 0
    assert buckets.take(address) > 0


def test_strangers_do_not_fill_the_memory() -> None:
    buckets = Buckets(lambda: 0.0)
    for n in range(20_000):
        buckets.take((f"address {n}", 60.0, 1))
    assert len(buckets._buckets) == 10_000


def visit(name: str = "ward") -> Visit:
    return Visit("192.0.2.7", {"type": "http", "method": "GET"}, Principal(name, f"key:{name}", frozenset({"read"})))


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_line_a_reading_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    first = visit()
    for _ in range(3):
        log.tell(first, "read", "a" * 32)
    log.tell(visit(), "read", "a" * 32)
    log.tell(first, "deleted", "a" * 32)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = lines(path)
    assert [(one["who"], one["address"], one["did"]) for one in told] == [
        ("ward", "192.0.2.7", did) for did in ("read", "read", "deleted")
    ]
    assert set(told[0]) == {"time", "request", "who", "address", "did", "report", "call"}
    log.close()


def test_several_processes_and_threads_append_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    logs = [AuditLog(path) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda log=log: [log.tell(visit(), "read", "b" * 32) for _ in range(50)])
        for log in logs
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(path)) == 200


def test_a_file_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    log = AuditLog(path)
    log.tell(visit(), "read", "c" * 32)
    path.rename(moved)
    log.tell(visit(), "read", "d" * 32)
    assert [one["report"][0] for one in lines(moved)] == ["c"]
    assert [one["report"][0] for one in lines(path)] == ["d"]


def test_what_cannot_be_written_down_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a line that a full disk cut off; the next one stands on a line of its own."""
    path = tmp_path / "audit.jsonl"
    with pytest.raises(AuditError, match="cannot be opened"):
        AuditLog(tmp_path / "nowhere" / "audit.jsonl")
    log = AuditLog(path)
    real = os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(AuditError, match="nothing is shown"):
            log.tell(visit(), "read", "e" * 32)
        patched.setattr(os, "write", lambda file, data: real(file, data[:20]))
        with pytest.raises(AuditError):
            log.tell(visit(), "read", "e" * 32)
    log.tell(visit(), "read", "f" * 32)
    cut, whole = path.read_text().splitlines()
    assert cut.startswith('{"time"') and json.loads(whole)["report"] == "f" * 32
