"""One property of a film's header changed at a time: it is read as it is, or refused, or says what is doubtful."""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from medinterp.errors import (
    FilmError,
    FilmShapeError,
    FilmTooLargeError,
    NoPictureError,
    UnreadableFilmError,
    UnsupportedFilmError,
)
from medinterp.imaging import read_film
from medinterp.phantom.files import write_dicom
from medinterp.phantom.films import draw_film, sample_film

SEED, WIDTH, HEIGHT = 10_000_100, 400, 360


@functools.cache
def plain() -> bytes:
    """A film of 12 bits, window 2048 / 4096, whose findings are large."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.dcm")
        write_dicom(draw_film(sample_film(SEED), WIDTH, HEIGHT).uint16(), path, bits=12)
        return path.read_bytes()


@functools.cache
def stored() -> np.ndarray:
    """The film's stored values, uint16 [H, W], 0 to 4095."""
    return draw_film(sample_film(SEED), WIDTH, HEIGHT).uint16() >> 4


def fresh() -> Dataset:
    """The film's data set, to be changed."""
    return pydicom.dcmread(io.BytesIO(plain()))


def saved(dataset: Dataset) -> bytes:
    """The bytes of a data set."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def gray(film_pixels: np.ndarray) -> np.ndarray:
    """0 to 255."""
    return film_pixels / np.iinfo(film_pixels.dtype).max * 255.0


TRUTH = functools.cache(lambda: stored() / 4095 * 255.0)
FULL = functools.cache(lambda: (stored() - float(stored().min())) / float(np.ptp(stored())) * 255.0)
Change = Callable[[Dataset], "bytes | None"]


def text(keyword: str, value: str, stand_in: str = "77777777") -> Change:
    """A value as it lies in a file: written past pydicom's own checks."""

    def change(dataset: Dataset) -> bytes:
        setattr(dataset, keyword, stand_in)
        raw = saved(dataset)
        assert raw.count(stand_in.encode()) == 1
        return _replaced(raw, stand_in.encode(), value.encode())

    return change


def _replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    place = data.index(old)
    padded = new + b" " * (len(new) % 2)
    assert data[place - 4 : place - 2] in (b"DS", b"IS", b"CS")
    return data[: place - 2] + len(padded).to_bytes(2, "little") + padded + data[place + len(old) :]


def put(**values: object) -> Change:
    """Attributes set."""

    def change(dataset: Dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def both(*changes: Change) -> Change:
    """One after the other; the last may answer with bytes."""

    def change(dataset: Dataset) -> bytes | None:
        answers = [each(dataset) for each in changes]
        return answers[-1]

    return change


def no_window(dataset: Dataset) -> None:
    del dataset.WindowCenter, dataset.WindowWidth


def pixels(values: np.ndarray, bits: int = 12) -> Change:
    """Other stored values."""

    def change(dataset: Dataset) -> None:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16 if bits > 8 else 8, bits, bits - 1
        dataset.PixelData = values.astype("<u2" if bits > 8 else "u1").tobytes()
        dataset["PixelData"].VR = "OW"

    return change


def lut(count: int, first: int, bits: int, data: bytes | list[int], keyword: str = "VOILUTSequence") -> Change:
    """A table, as bytes (OW) or numbers (US)."""

    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.add(DataElement(0x00283002, "US", [count, first % 65536, bits]))
        item.add(DataElement(0x00283006, "OW" if isinstance(data, bytes) else "US", data))
        if keyword == "ModalityLUTSequence":
            item.ModalityLUTType = "US"
        dataset.add(DataElement(pydicom.datadict.tag_for_keyword(keyword), "SQ", [item]))

    return change


LINE = np.arange(4096)
BYTES = np.rint(LINE / 4095 * 255).astype(np.uint8)
HOT = stored().copy()
HOT[180, 200] = 65535
MARKED = stored().copy()
MARKED[5:25, 5:25] = 65535
TOP_BITS = stored() | np.where((np.arange(WIDTH) // 7) % 2, 1 << 12, 0).astype(np.uint16)
SIGNED = ((stored().astype(np.int32) - 2048) & 0xFFFF).astype(np.uint16)
SIXTEEN = draw_film(sample_film(SEED), WIDTH, HEIGHT).uint16()


@dataclass(frozen=True)
class Case:
    """same: to within one gray level of what is read: the film as its window shows it, the film from its darkest to its
    brightest value, or neither; warned: codes that must be told; refused: the error and a part of its text."""

    name: str
    change: Change
    same: Literal["window", "full", "neither"] = "window"
    warned: tuple[str, ...] = ()
    noted: str = ""
    refused: tuple[type[FilmError], str] | None = None


def refused(name: str, change: Change, kind: type[FilmError], part: str) -> Case:
    return Case(name, change, refused=(kind, part))


CASES = (
    Case("as it is", put()),
    # windows
    refused("width nan", text("WindowWidth", "nan"), UnreadableFilmError, r"WindowWidth \(0028,1051\) is nan"),
    refused("width infinite", text("WindowWidth", "inf"), UnreadableFilmError, r"WindowWidth \(0028,1051\) is inf"),
    refused("width no number", text("WindowWidth", "wide"), UnreadableFilmError, r"\(0028,1051\) is nan"),
    refused("center nan", text("WindowCenter", "nan"), UnreadableFilmError, r"WindowCenter \(0028,1050\) is nan"),
    refused("center infinite", text("WindowCenter", "-inf"), UnreadableFilmError, r"\(0028,1050\) is -inf"),
    refused("center 1e999", text("WindowCenter", "1e999"), UnreadableFilmError, r"\(0028,1050\) is inf"),
    Case("width absurd", same="full", change=text("WindowWidth", "1e30"), warned=("window",)),
    Case("center absurd", same="full", change=text("WindowCenter", "1e30"), warned=("window",)),
    Case("center far off", same="full", change=put(WindowCenter=-30000), warned=("window",)),
    Case("width 0", same="full", change=put(WindowWidth=0), noted="width of 0"),
    Case("width negative", same="full", change=put(WindowWidth=-5), noted="width of -5"),
    Case("width 0.9", same="full", change=put(WindowWidth="0.9"), noted="width of 0.9"),
    Case("width 1", same="full", change=put(WindowWidth=1), warned=("window",)),
    Case("first of several widths 1", put(WindowCenter=[2048, 2048], WindowWidth=[1, 4096]), warned=("window",)),
    Case("first of several far off", put(WindowCenter=[1e6, 2048], WindowWidth=[10, 4096]), warned=("window",)),
    Case("second nan", put(WindowCenter=[2048, 5], WindowWidth=["4096", "1e999"]), noted="window 2 is not finite"),
    Case("more widths than centers", put(WindowCenter=2048, WindowWidth=[4096, 3])),
    Case("center alone", same="full", change=lambda d: d.__delattr__("WindowWidth"), noted="no window"),
    Case("window empty", same="full", change=put(WindowCenter="", WindowWidth=""), noted="no window"),
    Case("no window", same="full", change=no_window, noted="no window"),
    Case("function in small letters", text("VOILUTFunction", "linear", "FUNCTION")),
    Case("function unknown", put(VOILUTFunction="SQUARE"), noted="function unknown"),
    Case("function empty", put(VOILUTFunction="")),
    Case("linear exact", put(VOILUTFunction="LINEAR_EXACT")),
    Case(
        "exact of width 0.5",
        same="full",
        change=put(VOILUTFunction="LINEAR_EXACT", WindowWidth="0.5"),
        warned=("window",),
    ),
    Case("window for 16 bits", same="full", change=put(WindowCenter=32768, WindowWidth=65536), warned=("window",)),
    Case("window for 14 bits", put(WindowCenter=8192, WindowWidth=16384), same="neither", warned=("low-contrast",)),
    Case("window for 10 bits", put(WindowCenter=512, WindowWidth=1024), same="full", warned=("window",)),
    # All of the lungs become black, and with them what lies in them.
    Case(
        "window above the lungs", put(WindowCenter=2500, WindowWidth=1875), same="neither", warned=("clipped",)
    ),
    Case("window for 11 bits", put(WindowCenter=800, WindowWidth=1600), same="neither", warned=("clipped",)),
    # rescale
    refused("slope nan", text("RescaleSlope", "nan"), UnreadableFilmError, r"RescaleSlope \(0028,1053\) is nan"),
    refused("slope infinite", text("RescaleSlope", "inf"), UnreadableFilmError, r"\(0028,1053\) is inf"),
    refused("slope no number", text("RescaleSlope", "one"), UnreadableFilmError, r"\(0028,1053\) is nan"),
    refused("slope 0", put(RescaleSlope=0), UnreadableFilmError, r"\(0028,1053\) is 0"),
    refused("intercept nan", text("RescaleIntercept", "nan"), UnreadableFilmError, r"\(0028,1052\) is nan"),
    Case("slope -1 under the film's own window", put(RescaleSlope=-1), same="neither", warned=("window", "inverted")),
    Case("slope empty", put(RescaleSlope="")),
    Case("slope tiny", same="full", change=put(RescaleSlope="1e-30"), warned=("window",)),
    Case("slope and window agree", put(RescaleSlope=2, WindowCenter=4095.5, WindowWidth=8191)),
    Case("intercept and window agree", put(RescaleIntercept=-1024, WindowCenter=1024)),
    # bits and signs
    Case("bits stored 1", put(BitsStored=1, HighBit=0), warned=("bits-stored",)),
    Case("bits stored 8", put(BitsStored=8, HighBit=7), warned=("bits-stored",)),
    Case("bits stored 0", put(BitsStored=0), warned=("bits-stored",)),
    Case("bits stored 17", put(BitsStored=17, HighBit=16), warned=("bits-stored",)),
    Case("bits stored 16", put(BitsStored=16, HighBit=15)),
    Case("high bit below", put(HighBit=3), warned=("bits-stored",)),
    Case("high bit 15: four bits up", both(pixels(stored() << 4), put(HighBit=15))),
    Case("signed over unsigned", put(PixelRepresentation=1), warned=("pixel-representation",)),
    Case(
        "signed over unsigned, 16 bits",
        both(pixels(SIXTEEN, 16), put(PixelRepresentation=1, WindowCenter=32768, WindowWidth=65536)),
        warned=("pixel-representation",),
    ),
    Case("unsigned over signed", both(pixels(SIGNED, 16), put(WindowCenter=0)), warned=("pixel-representation",)),
    Case("signed", both(pixels(SIGNED, 16), put(PixelRepresentation=1, WindowCenter=0))),
    Case("signed, 12 of 16 bits", both(pixels(SIGNED & 0xFFF), put(PixelRepresentation=1, WindowCenter=0))),
    Case("signed, carried on", both(pixels(SIGNED), put(PixelRepresentation=1, WindowCenter=0))),
    Case(
        "overlay in bit 12",
        both(pixels(TOP_BITS), lambda d: d.add_new(0x60000100, "US", 16), lambda d: d.add_new(0x60000102, "US", 12)),
        noted="overlay",
    ),
    refused("bits allocated 32", put(BitsAllocated=32), UnsupportedFilmError, "of 32 bits"),
    refused("bits allocated 1", put(BitsAllocated=1), UnsupportedFilmError, "of 1 bits"),
    # far off values
    Case("one pixel at the top, no window", same="full", change=both(pixels(HOT, 16), no_window), noted="far off"),
    Case("a marker at the top, no window", same="full", change=both(pixels(MARKED, 16), no_window), noted="far off"),
    # tables
    Case("table of 16 bits", lut(4096, 0, 16, np.rint(LINE / 4095 * 65535).astype("<u2").tobytes()), noted="VOI LUT"),
    Case("table of 8-bit entries, a word each", lut(4096, 0, 8, BYTES.astype("<u2").tobytes()), noted="VOI LUT"),
    Case("the same as numbers", lut(4096, 0, 8, [int(v) for v in BYTES]), noted="VOI LUT"),
    Case("the same, a byte each", lut(4096, 0, 8, BYTES.tobytes()), noted="VOI LUT"),
    Case(
        "16 bits over a table that ends at 4,095", lut(4096, 0, 16, LINE.astype("<u2").tobytes()), noted="12 bits taken"
    ),
    Case("8 bits over a table of 12", lut(4096, 0, 8, LINE.astype("<u2").tobytes()), noted="12 bits taken"),
    Case(
        "first value signed",
        both(pixels(SIGNED, 16), put(PixelRepresentation=1), lut(4096, -2048, 12, LINE.astype("<u2").tobytes())),
    ),
    Case("table beyond the film", lut(64, 60000, 12, (LINE[:64] * 65).astype("<u2").tobytes()), warned=("window",)),
    Case("table without data beside a window", lut(4096, 0, 16, b"\0\0"), noted="no table"),
    Case("table cut off beside a window", lut(4096, 0, 16, LINE[:100].astype("<u2").tobytes()), noted="no table"),
    Case("table of one value", lut(4096, 0, 12, np.full(4096, 9, "<u2").tobytes()), warned=("window",)),
    Case("modality table", lut(4096, 0, 12, LINE.astype("<u2").tobytes(), "ModalityLUTSequence"), noted="modality LUT"),
    refused(
        "modality table cut off", lut(4096, 0, 12, b"\0\0", "ModalityLUTSequence"), UnreadableFilmError, "0028,3000"
    ),
    # photometry
    Case(
        "monochrome1",
        both(pixels(4095 - stored()), put(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")),
    ),
    Case("monochrome2, inverse", both(pixels(4095 - stored()), put(PresentationLUTShape="INVERSE")), noted="INVERSE"),
    Case("monochrome1 that is not", put(PhotometricInterpretation="MONOCHROME1"), same="neither", warned=("inverted",)),
    Case("photometric in small letters", text("PhotometricInterpretation", "monochrome2", "PHOTOMET")),
    refused("photometric unknown", put(PhotometricInterpretation="GREY"), UnsupportedFilmError, "GREY"),
    refused("palette", put(PhotometricInterpretation="PALETTE COLOR"), UnsupportedFilmError, "PALETTE COLOR"),
    refused("three samples", put(SamplesPerPixel=3), UnsupportedFilmError, "3 samples"),
    # padding and shutter
    Case(
        "padding over everything",
        both(
            lambda d: d.add_new("PixelPaddingValue", "US", 0),
            lambda d: d.add_new("PixelPaddingRangeLimit", "US", 65535),
        ),
        warned=("padding",),
    ),
    Case("padding that is not there", lambda d: d.add_new("PixelPaddingValue", "US", 60000)),
    Case(
        "shutter over everything",
        put(ShutterShape="CIRCULAR", CenterOfCircularShutter=[1, 1], RadiusOfCircularShutter=2),
        warned=("shutter",),
    ),
    Case("shutter without numbers", put(ShutterShape="RECTANGULAR"), warned=("shutter",)),
    Case(
        "shutter around it",
        put(
            ShutterShape="RECTANGULAR",
            ShutterLeftVerticalEdge=0,
            ShutterRightVerticalEdge=401,
            ShutterUpperHorizontalEdge=0,
            ShutterLowerHorizontalEdge=361,
        ),
    ),
    # shape
    refused("one row", put(Rows=1), FilmShapeError, "400 x 1"),
    refused("no rows", put(Rows=0), UnreadableFilmError, "400 x 0"),
    refused("far too wide", both(put(Rows=40, Columns=3600)), FilmShapeError, "5 times"),
    refused("huge", put(Rows=65535, Columns=65535), FilmTooLargeError, "65535 x 65535"),
    refused("more rows than pixels", put(Rows=720), UnreadableFilmError, "fewer pixels"),
    Case("fewer rows than pixels", put(Rows=300), same="neither", warned=("extra-pixels",)),
    refused("frames", put(NumberOfFrames=2), UnsupportedFilmError, "2 frames"),
    Case("frames 1", put(NumberOfFrames=1)),
    Case("frames 0", put(NumberOfFrames=0)),
    Case("aspect absurd", put(PixelAspectRatio=[1, 4000]), warned=("pixel-aspect",)),
    Case("spacing of zeros", put(PixelSpacing=[0, 0])),
    # what the film is
    Case("lateral", put(ViewPosition="LL"), warned=("lateral",)),
    Case("lateral by its orientation", put(PatientOrientation=["A", "F"]), warned=("lateral",)),
    Case("oblique", put(ViewPosition="LPO"), warned=("oblique",)),
    Case("abdomen", put(BodyPartExamined="ABDOMEN"), warned=("body-part",)),
    Case("hand", put(BodyPartExamined="HAND"), warned=("body-part",)),
    Case("chest in another way", put(BodyPartExamined="PORT CHEST")),
    Case("CT", put(Modality="CT"), warned=("modality",)),
    Case("raw", put(PresentationIntentType="FOR PROCESSING"), warned=("for-processing",)),
    # flat
    refused("one value", both(pixels(np.full((HEIGHT, WIDTH), 700))), NoPictureError, "no picture"),
    refused("one value and a marker", both(pixels(np.where(MARKED == 65535, 4095, 700))), NoPictureError, "no picture"),
)
WITHHOLDING = {"inverted", "lateral", "oblique", "body-part", "modality"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_header(case: Case) -> None:
    dataset = fresh()
    data = case.change(dataset) or saved(dataset)
    if case.refused is not None:
        kind, part = case.refused
        with pytest.raises(kind, match=part) as raised:
            read_film(data)
        assert type(raised.value) is kind
        assert "Phantom" not in str(raised.value)
        return
    film = read_film(data)
    codes = {warning.code for warning in film.warnings}
    assert codes == set(case.warned) or (case.same == "neither" and set(case.warned) <= codes), film.warnings
    assert {warning.code for warning in film.warnings if warning.withholds} <= WITHHOLDING
    assert not case.noted or any(case.noted in note for note in film.notes), film.notes
    if case.same != "neither":
        assert film.pixels.shape == (HEIGHT, WIDTH)
        off = np.abs(gray(film.pixels) - (TRUTH() if case.same == "window" else FULL()))
        told_far_off = "far off" in case.noted
        ignored = (HOT > 4095) | (MARKED > 4095) if told_far_off else np.zeros(off.shape, bool)
        assert float(off[~ignored].max()) <= 1.0 + 1e-6
    told = " ".join((*film.notes, *(warning.text for warning in film.warnings)))
    assert "Phantom" not in told and "PHANTOM" not in told


def test_there_are_enough_headers() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60
