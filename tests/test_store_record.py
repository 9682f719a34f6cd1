"""The record of a report: everything comes back, and only what should."""

from __future__ import annotations

from dataclasses import fields, replace

import msgpack
import numpy as np
import pytest

from medinterp.api.store import pack_record, unpack_record
from medinterp.errors import StoreError
from medinterp.types import Film
from tests.api_samples import given_explanation, sample_explanation
from tests.report_samples import all_kinds_explained
from tests.sources_samples import sample_reliance, sample_text_sources


@pytest.mark.parametrize("bits", [8, 16])
def test_everything_comes_back(bits: int) -> None:
    random = np.random.default_rng(3).integers(0, 2**bits, (31, 47))
    pixels = random.astype(np.uint8) if bits == 8 else random.astype(np.uint16)
    explanation = sample_explanation(Film(pixels, "application/dicom", "12" * 32, ("inverted",)))
    again = unpack_record(pack_record(explanation))
    assert again.report == explanation.report
    assert again.provenance == explanation.provenance
    assert again.film.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(again.film.pixels, pixels)
    assert (again.film.media_type, again.film.sha256, again.film.notes) == (
        "application/dicom",
        "12" * 32,
        ("inverted",),
    )
    assert again.packs.keys() == {"raw"}
    np.testing.assert_array_equal(again.packs["raw"].values, explanation.packs["raw"].values)
    assert again.packs["raw"].values.dtype == np.float32
    assert again.packs["raw"].notes == ("last layer",)
    assert again.trace is None


def test_a_prior_film_and_its_maps_come_back() -> None:
    explanation = sample_explanation()
    prior = Film(np.random.default_rng(4).integers(0, 2**16, (20, 30), np.uint16), "application/dicom", "34" * 32)
    packs = {"raw": replace(explanation.packs["raw"], values=1 - explanation.packs["raw"].values, image=1)}
    again = unpack_record(pack_record(replace(explanation, prior=prior, prior_packs=packs)))
    assert again.prior is not None
    np.testing.assert_array_equal(again.prior.pixels, prior.pixels)
    assert (again.prior.sha256, again.prior.media_type) == (prior.sha256, prior.media_type)
    np.testing.assert_array_equal(again.prior_packs["raw"].values, packs["raw"].values)
    assert (again.packs["raw"].image, again.prior_packs["raw"].image) == (0, 1)
    assert unpack_record(pack_record(explanation)).prior is None


def test_a_record_from_before_there_were_prior_films_opens() -> None:
    plain = msgpack.unpackb(pack_record(sample_explanation()))
    del plain["prior"], plain["prior_maps"]
    again = unpack_record(msgpack.packb(plain))
    assert (again.prior, dict(again.prior_packs)) == (None, {})


def test_what_maps_were_made_with_comes_back() -> None:
    sample = sample_explanation()
    spread = np.full_like(sample.packs["raw"].values, 0.25)
    pack = replace(sample.packs["raw"], members=("a", "b"), disagreement=spread, options={"block": 2, "exact": True})
    again = unpack_record(pack_record(replace(sample, packs={"raw": pack}))).packs["raw"]
    assert again.options == {"block": 2, "exact": True}
    assert again.options["exact"] is True
    assert again.members == ("a", "b")
    np.testing.assert_array_equal(again.disagreement, spread)


def test_all_that_a_report_says_comes_back() -> None:
    sample = all_kinds_explained()
    again = unpack_record(pack_record(sample))
    assert again.report == sample.report
    assert {finding.status for finding in again.report.findings} == {"present", "uncertain", "absent"}
    assert again.report.findings[0].hedge is not None and again.report.thinking and again.report.mentions


def test_a_record_of_version_2_is_told_apart() -> None:
    plain = msgpack.unpackb(pack_record(sample_explanation()), raw=False)
    assert plain["version"] == 4
    finding = plain["report"]["findings"][0]
    del finding["status"], finding["zones"]
    report = {**plain["report"], "findings": [{**finding, "present": False, "zone": None}]}
    for blob in ({**plain, "version": 2, "report": report}, {**plain, "version": 2}):
        with pytest.raises(StoreError, match="cannot be read by this version"):
            unpack_record(msgpack.packb(blob))


def test_a_given_report_comes_back_as_one() -> None:
    sample = given_explanation("No zebra.")
    again = unpack_record(pack_record(sample))
    assert again.report == sample.report
    assert [word.unlikely for word in again.report.words] == [False, True]
    assert again.provenance.given and not unpack_record(pack_record(sample_explanation())).provenance.given
    plain = msgpack.unpackb(pack_record(sample), raw=False)
    for word in plain["report"]["words"]:
        del word["unlikely"]  # as version 3 wrote it: nobody knows
    with pytest.raises(StoreError, match="cannot be read by this version"):
        unpack_record(msgpack.packb({**plain, "version": 3}))


def test_who_wrote_comes_back_and_a_record_from_before_there_were_engines_opens() -> None:
    sample = sample_explanation()
    told = {"writer": "m", "tokens_compared": True, "retokenised_at": 0}
    assert unpack_record(pack_record(replace(sample, provenance=replace(sample.provenance, **told)))).provenance == (
        replace(sample.provenance, **told)
    )
    plain = msgpack.unpackb(pack_record(sample), raw=False)
    for name in told:
        del plain["provenance"][name]
    assert unpack_record(msgpack.packb(plain)).provenance == sample.provenance


def test_text_sources_come_back_and_a_record_from_before_there_were_any_opens() -> None:
    sources = sample_text_sources()
    packed = pack_record(replace(sample_explanation(), text_sources=(sources,)))
    (again,) = unpack_record(packed).text_sources
    for field in fields(sources):
        one, other = getattr(sources, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(one, other)
        assert type(one) is type(other)
    assert again.report_gradient.dtype == np.float32
    assert len(packed) - len(pack_record(sample_explanation())) < 1200
    plain = msgpack.unpackb(packed, raw=False)
    del plain["text_sources"]
    assert unpack_record(msgpack.packb(plain)).text_sources == ()


def test_reliance_comes_back_and_a_record_from_before_there_was_any_opens() -> None:
    reliance = sample_reliance()
    packed = pack_record(replace(sample_explanation(), reliance=reliance))
    again = unpack_record(packed)
    assert again.reliance is not None and again.report == sample_explanation().report
    assert again.reliance.fills == ("blank", "one", "other")
    for name in ("logprob", "blank_drop", "swap_drops", "reliance"):
        np.testing.assert_array_equal(getattr(again.reliance, name), getattr(reliance, name))
        assert getattr(again.reliance, name).dtype == np.float32
    plain = msgpack.unpackb(packed, raw=False)
    del plain["reliance"]
    for word in plain["report"]["words"]:
        del word["reliance"]
    assert unpack_record(msgpack.packb(plain)).reliance is None


def test_a_record_is_plain_msgpack() -> None:
    plain = msgpack.unpackb(pack_record(sample_explanation()), raw=False, strict_map_key=True)
    assert set(plain) == {
        "version", "film", "report", "maps", "provenance", "prior", "prior_maps", "text_sources", "verdicts", "reliance"
    }


@pytest.mark.parametrize(
    "blob", [b"", b"\x80\x04K\x01.", b"\xc1", msgpack.packb({"version": 4}), msgpack.packb([1, 2])]
)
def test_another_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(StoreError):
        unpack_record(blob)


def test_an_array_that_lies_about_its_shape_is_refused() -> None:
    plain = msgpack.unpackb(pack_record(sample_explanation()), raw=False)
    plain["maps"]["raw"]["values"]["shape"] = [8, 4, 5]
    with pytest.raises(StoreError):
        unpack_record(msgpack.packb(plain))
