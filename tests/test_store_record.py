"""The record of a report: everything comes back, and only what should."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isal import isal_zlib

from medinterp.api.store import change_record, pack_record, unpack_record
from medinterp.api.store.parts import join_parts, split_parts
from medinterp.api.store.pixels import decode_pixels, encode_pixels
from medinterp.api.store.record import pack_plain, unpack_plain
from medinterp.errors import StoreError
from medinterp.phantom.films import draw_film, sample_film
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
    plain, parts = unpack_plain(pack_record(sample_explanation()))
    del plain["prior"], plain["prior_maps"]
    again = unpack_record(pack_plain(plain, parts))
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
    plain, parts = unpack_plain(pack_record(sample_explanation()))
    assert plain["version"] == 5
    finding = plain["report"]["findings"][0]
    del finding["status"], finding["zones"]
    report = {**plain["report"], "findings": [{**finding, "present": False, "zone": None}]}
    for blob in ({**plain, "version": 2, "report": report}, {**plain, "version": 2}):
        with pytest.raises(StoreError, match="cannot be read by this version"):
            unpack_record(pack_plain(blob, parts))


def test_a_given_report_comes_back_as_one() -> None:
    sample = given_explanation("No zebra.")
    again = unpack_record(pack_record(sample))
    assert again.report == sample.report
    assert [word.unlikely for word in again.report.words] == [False, True]
    assert again.provenance.given and not unpack_record(pack_record(sample_explanation())).provenance.given
    plain, parts = unpack_plain(pack_record(sample))
    for word in plain["report"]["words"]:
        del word["unlikely"]  # as version 3 wrote it: nobody knows
    with pytest.raises(StoreError, match="cannot be read by this version"):
        unpack_record(pack_plain({**plain, "version": 3}, parts))


def test_who_wrote_comes_back_and_a_record_from_before_there_were_engines_opens() -> None:
    sample = sample_explanation()
    told = {"writer": "m", "tokens_compared": True, "retokenised_at": 0}
    assert unpack_record(pack_record(replace(sample, provenance=replace(sample.provenance, **told)))).provenance == (
        replace(sample.provenance, **told)
    )
    plain, parts = unpack_plain(pack_record(sample))
    for name in told:
        del plain["provenance"][name]
    assert unpack_record(pack_plain(plain, parts)).provenance == sample.provenance


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
    plain, parts = unpack_plain(packed)
    del plain["text_sources"]
    assert unpack_record(pack_plain(plain, parts)).text_sources == ()


def test_reliance_comes_back_and_a_record_from_before_there_was_any_opens() -> None:
    reliance = sample_reliance()
    packed = pack_record(replace(sample_explanation(), reliance=reliance))
    again = unpack_record(packed)
    assert again.reliance is not None and again.report == sample_explanation().report
    assert again.reliance.fills == ("blank", "one", "other")
    for name in ("logprob", "blank_drop", "swap_drops", "reliance"):
        np.testing.assert_array_equal(getattr(again.reliance, name), getattr(reliance, name))
        assert getattr(again.reliance, name).dtype == np.float32
    plain, parts = unpack_plain(packed)
    del plain["reliance"]
    for word in plain["report"]["words"]:
        del word["reliance"]
    assert unpack_record(pack_plain(plain, parts)).reliance is None


def test_a_record_is_plain_msgpack_deflated_and_the_films_pixels() -> None:
    prior = Film(np.zeros((32, 40), np.uint8), "image/png", "56" * 32)
    body, parts = split_parts(pack_record(replace(sample_explanation(), prior=prior)))
    plain = msgpack.unpackb(isal_zlib.decompress(body), raw=False, strict_map_key=True)
    assert set(plain) == {
        *("version", "film", "report", "maps", "provenance", "prior", "prior_maps", "text_sources", "verdicts"),
        *("reliance", "box_verdicts"),
    }
    assert [plain[name]["part"] for name in ("film", "prior")] == [0, 1]
    np.testing.assert_array_equal(decode_pixels(parts[0], "jpeg-ls"), sample_explanation().film.pixels)
    np.testing.assert_array_equal(decode_pixels(parts[1], "jpeg-ls"), prior.pixels)


def test_a_record_of_version_4_opens_and_is_written_as_this_one() -> None:
    """As it was written before: films as PNG in the body, the whole not deflated."""
    prior = Film(np.random.default_rng(4).integers(0, 256, (20, 30)).astype(np.uint8), "image/png", "34" * 32)
    sample = replace(sample_explanation(), prior=prior)
    plain, _ = unpack_plain(pack_record(sample))
    for name, film in (("film", sample.film), ("prior", prior)):
        del plain[name]["part"], plain[name]["coding"]
        plain[name]["png"] = cv2.imencode(".png", film.pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    blob = msgpack.packb({**plain, "version": 4}, use_bin_type=True)
    again = unpack_record(blob)
    assert again.report == sample.report and again.prior is not None
    for found, wanted in ((again.film, sample.film), (again.prior, prior)):
        np.testing.assert_array_equal(found.pixels, wanted.pixels)
        assert found.pixels.dtype == wanted.pixels.dtype
    changed = change_record(blob, lambda kept: replace(kept, verdicts=()))
    assert len(split_parts(changed)[1]) == 2
    np.testing.assert_array_equal(unpack_record(changed).film.pixels, sample.film.pixels)


@settings(deadline=None)  # how long a busy machine takes for one film is no test
@given(st.data())
def test_pixels_come_back_whatever_they_are(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    highest = data.draw(st.sampled_from([0, 1, 3, 127, 255, 256, 1023, 4095, 65535]))
    lowest = data.draw(st.integers(0, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    bright = min(highest, np.iinfo(dtype).max)
    pixels = rng.integers(min(lowest, bright), bright + 1, (height, width)).astype(dtype)
    content, coding = encode_pixels(pixels)
    again = decode_pixels(content, coding)
    assert again.dtype == pixels.dtype and again.shape == pixels.shape
    np.testing.assert_array_equal(again, pixels)


def test_what_jpeg_ls_would_swell_is_kept_as_png() -> None:
    assert encode_pixels(np.zeros((2, 2), np.uint16))[1] == "png"
    assert encode_pixels(np.zeros((32, 32), np.uint8))[1] == "jpeg-ls"
    one = unpack_record(pack_record(sample_explanation(Film(np.full((2, 2), 7, np.uint8), "image/png", "ab" * 32))))
    np.testing.assert_array_equal(one.film.pixels, np.full((2, 2), 7, np.uint8))


def test_jpeg_ls_leaves_less_than_png() -> None:
    pixels = draw_film(sample_film(3), 400, 300).uint16()
    png = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
    assert len(encode_pixels(pixels)[0]) < 0.9 * len(png)


def test_a_film_that_is_cut_off_or_no_film_is_refused() -> None:
    blob = pack_record(sample_explanation())
    body, parts = split_parts(blob)
    for wrong in (join_parts(body, (parts[0][:20],)), join_parts(body, (b"",)), blob[:-1], blob + b"x", blob[:8]):
        with pytest.raises(StoreError):
            unpack_record(wrong)
    plain, _ = unpack_plain(blob)
    with pytest.raises(StoreError, match="its film is missing"):
        unpack_record(pack_plain({**plain, "film": {**plain["film"], "part": 1}}, parts))


@pytest.mark.parametrize(
    "blob",
    [b"", b"\x80\x04K\x01.", b"\xc1", msgpack.packb({"version": 4}), msgpack.packb([1, 2]), pack_plain({}, (b"",))],
)
def test_another_blob_is_refused(blob: bytes) -> None:
    with pytest.raises(StoreError):
        unpack_record(blob)


def test_an_array_that_lies_about_its_shape_is_refused() -> None:
    plain, parts = unpack_plain(pack_record(sample_explanation()))
    plain["maps"]["raw"]["values"]["shape"] = [8, 4, 5]
    with pytest.raises(StoreError):
        unpack_record(pack_plain(plain, parts))
