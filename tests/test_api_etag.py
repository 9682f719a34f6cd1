"""ETag and If-None-Match: what has not changed is not drawn again, and lies in no cache unless that is wished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from medinterp.api.access.settings import AccessSettings
from medinterp.api.app import create_api
from medinterp.api.store import open_store
from medinterp.api.validators import holds
from tests.api_access import bearer, key_file
from tests.api_backend import FakeBackend, api_settings
from tests.api_service import Here, Service, problem, service  # noqa: F401 - pytest finds fixtures by name
from tests.test_api_jobs import running

PICTURES = (
    "film.png",
    "film.png?size=32",
    "overlay.png?words=0-1",
    "words/0/overlay.png?opacity=0.3",
    "export?format=json",
    "export?format=png&words=0",
    "maps/packed",
)


@pytest.mark.parametrize("picture", PICTURES)
def test_what_has_not_changed_is_not_drawn_again(
    service: Service, picture: str, monkeypatch: pytest.MonkeyPatch  # noqa: F811 - the fixture
) -> None:
    place = f"/reports/{service.report()}/{picture}"
    first = service.client.get(place)
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]
    assert service.client.get(place).headers["etag"] == tag and first.headers["cache-control"] == "no-store"
    drawn: list[str] = []
    for name in ("overlay", "film", "export"):
        monkeypatch.setattr(service.backend, name, lambda *_: drawn.append("drawn"))
    monkeypatch.setattr("medinterp.api.routes_view.packed_maps", lambda *_: drawn.append("packed"))
    for told in (tag, f'"another", {tag}', tag.removeprefix("W/"), "*"):
        same = service.client.get(place, headers={"If-None-Match": told})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        assert same.headers["cache-control"] == "no-store"
    assert drawn == []


def test_tags_differ_by_what_is_asked_and_by_the_report(service: Service) -> None:  # noqa: F811 - the fixture
    first, second = service.report(), service.report()
    places = [f"/reports/{report}/{picture}" for report in (first, second) for picture in PICTURES]
    tags = [service.client.get(place).headers["etag"] for place in places]
    packed = service.client.get(f"/reports/{first}/maps/packed", headers={"Accept": "application/msgpack"})
    assert len({*tags, packed.headers["etag"]}) == len(tags) + 1


def test_a_report_that_changed_is_drawn_again(tmp_path: Path) -> None:
    with running(tmp_path) as jobs:
        report = jobs.report()
        place = f"/reports/{report}/export?format=json"
        tag = jobs.client.get(place).headers["etag"]
        jobs.client.post(f"/reports/{report}/maps", json={"method": "occlusion"})
        again = jobs.client.get(place, headers={"If-None-Match": tag})
        assert again.status_code == 200 and again.headers["etag"] != tag


def test_a_deleted_report_and_anothers_are_not_the_same_as_before(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = key_file(path, ward="read,write", clinic="read,write")
    with running(tmp_path, access=AccessSettings(keys_file=str(path), allowed_hosts=("*",))) as jobs:
        ward, clinic = bearer(keys["ward"]), bearer(keys["clinic"])
        report = jobs.post(ward).json()["id"]
        place = f"/reports/{report}/film.png"
        tag = {"If-None-Match": jobs.client.get(place, headers=ward).headers["etag"]}
        assert jobs.client.get(place, headers={**ward, **tag}).status_code == 304
        problem(jobs.client.get(place, headers={**clinic, **tag}), 404)
        problem(jobs.client.get(place, headers={**clinic, "If-None-Match": "*"}), 404)
        jobs.client.delete(f"/reports/{report}", headers=ward)
        problem(jobs.client.get(place, headers={**ward, **tag}), 404)


@pytest.fixture
def caching(tmp_path: Path) -> Iterator[Service]:
    """A service that lets browsers keep pictures."""
    made = Service(tmp_path)
    settings = api_settings(tmp_path).model_copy(update={"cache_pictures": True})
    store = open_store(settings.store)
    made.backend = FakeBackend(store)
    made.client = TestClient(create_api(made.backend, settings, store, Here(settings.limits.film())))
    with made.client:
        yield made


def test_pictures_may_be_kept_where_that_is_wished(caching: Service) -> None:
    report = caching.report()
    for picture in PICTURES:
        first = caching.client.get(f"/reports/{report}/{picture}")
        assert first.headers["cache-control"] == "private, no-cache"
        same = caching.client.get(f"/reports/{report}/{picture}", headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.headers["cache-control"]) == (304, "private, no-cache")
    for place in (f"/reports/{report}", f"/reports/{report}/maps", "/models", f"/reports/{'0' * 32}/film.png"):
        assert caching.client.get(place).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("told", ['W/"a"', '"a"', '"b" , W/"a"', "*"])
def test_a_header_that_names_the_tag(told: str) -> None:
    assert holds(told, 'W/"a"')


@pytest.mark.parametrize("told", [None, "", "a", '"aa"', 'W/"b"'])
def test_a_header_that_does_not(told: str | None) -> None:
    assert not holds(told, 'W/"a"')
