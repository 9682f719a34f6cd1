"""What reports cost in the store, for `medinterp bench --store`: bytes beside those of version 4, and seconds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import msgpack
import numpy as np

from medinterp.api.report_id import new_report_id
from medinterp.api.store.parts import join_parts, split_parts
from medinterp.api.store.pixels import Pixels, decode_pixels, encode_pixels
from medinterp.api.store.record import pack_record, unpack_plain
from medinterp.api.store.settings import SqliteStoreSettings
from medinterp.api.store.sqlite import SqliteStore
from medinterp.evaluation.reading import film_of, unseen_films
from medinterp.evaluation.speed.line import BenchLine, interleaved, seconds_line
from medinterp.explainer import Explainer
from medinterp.phantom.films import draw_film, sample_film
from medinterp.types import Explanation

METHODS = ("layer_weighted", "raw", "value_weighted", "head_importance", "attention_flow", "consensus")
"""Those of serve_config.yaml."""
MB = 1e6


def store_lines(name: str = "phantom", reports: int = 8) -> Iterator[BenchLine]:
    """Make reports by the model, keep them in a SQLite store of their own, and tell what a thousand like them take.

    Baseline: the same in version 4 (a film as PNG and maps as they are, in every report).
    """
    explainer = Explainer.from_pretrained(name)
    explained = [explainer.explain(film_of(*one)[0], methods=METHODS) for one in unseen_films(reports)]
    film = explained[0].film
    told = f"{name}, {film.width} x {film.height}, {8 * film.pixels.itemsize} bits, {len(METHODS)} methods"
    told += f", {round(np.mean([len(one.report.tokens) for one in explained]))} tokens; from {reports}"
    before = sum(map(_bytes_in_version_4, explained)) / reports
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(SqliteStoreSettings(path=str(Path(directory) / "private" / "reports.sqlite3")))
        try:
            each = _held(store, explained) / reports
            yield _bytes_line(f"a thousand reports, each of a film of its own / in version 4 ({told})", before, each)
            again = _held(store, [explained[0]] * 2) - _held(store, explained[:1])
            before = _bytes_in_version_4(explained[0])
            yield _bytes_line(f"a thousand more reports of one film / in version 4 ({told})", before, again)
            yield from _seconds(store, explained[0], told)
        finally:
            store.close()
    yield from _pixels()


def _held(store: SqliteStore, explained: Sequence[Explanation]) -> int:
    """Bytes of these alone in the store, by its own count."""
    ids = [new_report_id() for _ in explained]
    for report_id, one in zip(ids, explained, strict=True):
        store.put(report_id, pack_record(one))
    held = store.usage().bytes
    for report_id in ids:
        store.delete(report_id)
    return held


def _bytes_line(name: str, before: float, each: float) -> BenchLine:
    """Of one report in version 4, and now."""
    return BenchLine(name, round(each / before, 4), round(before * 1000 / MB), round(each * 1000 / MB), "MB")


def _bytes_in_version_4(explained: Explanation) -> int:
    plain, _ = unpack_plain(pack_record(explained))
    return len(msgpack.packb(plain, use_bin_type=True)) + len(_png(explained.film.pixels))


def _png(pixels: Pixels) -> bytes:
    return cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def _seconds(store: SqliteStore, explained: Explanation, told: str) -> Iterator[BenchLine]:
    """What the store takes beside packing, which no store spares."""
    blob = pack_record(explained)
    kept = new_report_id()
    store.put(kept, blob)

    def put_and_delete() -> None:
        report_id = new_report_id()
        store.put(report_id, join_parts(*_other_film(blob)))
        store.delete(report_id)

    seconds = interleaved(
        {
            "pack": lambda: pack_record(explained),
            "put and delete, with the film": put_and_delete,
            "get": lambda: store.get(kept),
            "update": lambda: store.update(kept, lambda blob: blob),
        },
        rounds=20,
    )
    for name in list(seconds)[1:]:
        yield seconds_line(f"store: {name} / packing a report ({told})", seconds["pack"], seconds[name])


def _other_film(blob: bytes) -> tuple[bytes, tuple[bytes, ...]]:
    """The same report with a film that the store does not have yet."""
    body, parts = split_parts(blob)
    return body, tuple(os.urandom(16) + part[16:] for part in parts)


def _pixels() -> Iterator[BenchLine]:
    """JPEG-LS beside PNG at level 1, on a film of a patient's size and grain."""
    pixels = draw_film(sample_film(4), 2048, 2500).uint16()
    told = "2,048 x 2,500, 16 bits"
    content, coding = encode_pixels(pixels)
    png = _png(pixels)
    yield BenchLine(
        f"a film by {coding} / PNG ({told})",
        round(len(content) / len(png), 4),
        round(len(png) / MB, 3),
        round(len(content) / MB, 3),
        "MB",
    )
    seconds = interleaved(
        {
            "write PNG": lambda: _png(pixels),
            "write": lambda: encode_pixels(pixels),
            "read PNG": lambda: decode_pixels(png, "png"),
            "read": lambda: decode_pixels(content, coding),
        },
        rounds=5,
    )
    for what in ("write", "read"):
        yield seconds_line(f"{what} a film by {coding} / PNG ({told})", seconds[f"{what} PNG"], seconds[what])
