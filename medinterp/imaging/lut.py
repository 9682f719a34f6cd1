"""Lookup tables of a DICOM (PS3.3 C.11.1.1.1 and C.11.2.1.1), looked up here: entries of 8 bits too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from medinterp.imaging.broken import broken_is_unreadable
from medinterp.imaging.dicom_values import decimals

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LookupTable:
    """entries: what each index becomes, float64 [entries]; first: the value that index 0 stands for.

    white: the largest entry that the descriptor's bits hold; notes: what of the descriptor was not believed.
    """

    entries: Doubles
    first: int
    white: float
    notes: tuple[str, ...] = ()

    def look_up(self, values: Doubles) -> Doubles:
        """The entries of values, those outside the table as its ends."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])


def read_lut(item: Dataset, *, signed: bool) -> LookupTable | None:
    """The table of a sequence's item, or None where it holds none that can be used.

    signed: whether what goes in can be negative; the descriptor's first value then is, whatever its VR says.
    Raises UnreadableFilmError for an item that cannot be parsed.
    """
    descriptor = decimals(item, "LUTDescriptor")
    data, little = _bytes(item)
    if len(descriptor) != 3 or not all(number == int(number) for number in descriptor) or data is None:
        return None
    count, first, bits = (int(number) for number in descriptor)
    count %= 65536
    count = count or 65536
    first %= 65536
    if signed and first >= 32768:
        first -= 65536
    if len(data) == 2 * count:
        entries = np.frombuffer(data, "<u2" if little else ">u2")
    elif len(data) in (count, count + count % 2):  # a byte each, padded to a whole word
        entries = np.frombuffer(data, np.uint8)[:count]
    else:
        return None
    top = int(entries.max())
    used = max(top.bit_length(), 1)
    notes: tuple[str, ...] = ()
    if used != bits and (used > bits or bits - used >= 2 or not 8 <= bits <= 16):
        notes = (f"LUT descriptor says {bits} bits, its table ends at {top}: {used} bits taken",)
        bits = used
    return LookupTable(entries.astype(np.float64), first, float(2**bits - 1), notes)


def _bytes(item: Dataset) -> tuple[bytes | None, bool]:
    """LUTData as it lies in the file, and whether its words are little-endian."""
    with broken_is_unreadable("DICOM"):
        element: Any = item.get_item("LUTData")
        if element is None or element.value in (None, b"", ""):
            return None, True
        if isinstance(element, RawDataElement):
            return bytes(element.value), bool(element.is_little_endian)
        value = element.value
        if isinstance(value, bytes):
            return value, True
        return np.asarray(value, dtype=np.int64).astype("<u2").tobytes(), True
