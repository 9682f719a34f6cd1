"""Every deployment that uses the store asks it at start."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from deployments.api import ApiDeployment
from deployments.generation import GenerationDeployment
from deployments.rendering import RenderingDeployment
from deployments.settings import DefaultModelSettings, SlotsSettings
from medinterp.api.settings import ApiFixed
from medinterp.api.store import RedisStoreSettings, SqliteStoreSettings
from medinterp.errors import StoreError

REDIS = RedisStoreSettings(kind="redis", url="redis://127.0.0.1:1/0")
"""Nobody listens there."""


def start(deployment: str, store: SqliteStoreSettings | RedisStoreSettings) -> object:
    if deployment == "rendering":
        return RenderingDeployment(store)
    if deployment == "generation":
        # Told before the model is looked for, which would raise another error.
        return GenerationDeployment(DefaultModelSettings(name="/none"), SlotsSettings(), store, Mock())
    # The class as it is written: what @serve.ingress makes of it runs in a replica's event loop.
    plain = ApiDeployment.__mro__[1]
    return plain(ApiFixed(store=store), Mock(), Mock(), Mock(), ("phantom",))


@pytest.mark.parametrize("deployment", ["api", "generation", "rendering"])
def test_a_store_that_cannot_be_used_is_told_at_start(deployment: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="the Redis server that holds the reports cannot be used"):
        start(deployment, REDIS)
    tmp_path.chmod(0o755)
    with pytest.raises(StoreError, match="chmod go-rwx"):
        start(deployment, SqliteStoreSettings(path=str(tmp_path / "r.sqlite3")))
    (tmp_path / "private").mkdir(mode=0o700)
    (tmp_path / "key").write_text("no key")
    path, key = str(tmp_path / "private" / "r.sqlite3"), str(tmp_path / "key")
    with pytest.raises(StoreError, match=r"encryption_key_file .* line 1"):
        start(deployment, SqliteStoreSettings(path=path, encryption_key_file=key))
