"""Numbers and terms of a DICOM header, read so that what is wrong with one is said by its tag."""

from __future__ import annotations

import math
import re
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from medinterp.errors import UnreadableFilmError
from medinterp.imaging.broken import broken_is_unreadable

_TERM = re.compile(r"[A-Z0-9_ ]{1,16}")


def tag_name(keyword: str) -> str:
    """A keyword with its tag, as "WindowWidth (0028,1051)"."""
    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def decimals(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The values of a decimal or integer string, or of a binary number; none where it is absent or empty.

    What is no number comes as nan, so that whoever needs it can say so.
    """
    with broken_is_unreadable("DICOM"):
        element = dataset.get_item(keyword)
        if element is None or element.value in (None, b"", ""):
            return ()
        if isinstance(element, RawDataElement) and dictionary_VR(keyword) in ("DS", "IS"):
            # Parsed here: pydicom raises over what is no number, and its text quotes the header.
            text = bytes(element.value or b"").decode("ascii", "replace")
            return tuple(_decimal(part) for part in text.split("\\"))
        value = dataset[keyword].value
        values = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(_decimal(str(each)) for each in values)


def _decimal(text: str) -> float:
    try:
        return float(text.strip(" \0"))
    except ValueError:
        return math.nan


def whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """One whole number. Raises UnreadableFilmError where it is none, or where it is absent without a default."""
    values = decimals(dataset, keyword)
    if not values and default is not None:
        return default
    if len(values) != 1 or not math.isfinite(values[0]) or values[0] != int(values[0]):
        raise UnreadableFilmError(f"{tag_name(keyword)} is not one whole number: the header cannot be trusted.")
    return int(values[0])


def finite(dataset: Dataset, keyword: str, default: float) -> float:
    """One finite number. Raises UnreadableFilmError for any other."""
    values = decimals(dataset, keyword)
    if not values:
        return default
    return require_finite(keyword, values[0])


def require_finite(keyword: str, value: float) -> float:
    """The value; raises UnreadableFilmError naming tag and value when it is not finite."""
    if not math.isfinite(value):
        raise UnreadableFilmError(
            f"{tag_name(keyword)} is {value}: no gray value can be made of that. Mend the header, or send a PNG."
        )
    return value


def term(dataset: Dataset, keyword: str) -> str:
    """A defined term in capitals, "" where there is none, or where it is not written as one."""
    with broken_is_unreadable("DICOM"):
        value: Any = dataset.get(keyword)
        text = str(value if value is not None else "").strip(" \0").upper()
    return text if _TERM.fullmatch(text) else ""


def terms(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Several defined terms, as `term`."""
    with broken_is_unreadable("DICOM"):
        value: Any = dataset.get(keyword)
        if value is None:
            return ()
        texts = [value] if isinstance(value, str) else list(value)
        written = [str(text).strip(" \0").upper() for text in texts]
    return tuple(text for text in written if _TERM.fullmatch(text))
