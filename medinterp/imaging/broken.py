"""What other libraries raise, warn and log over a file's bytes, as errors of ours or not at all."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from medinterp.errors import FilmTooLargeError, MedInterpError, UnreadableFilmError


class _Silence(logging.Filter):
    """Drops a logger's records in threads that read a film just now: pydicom's quote values of the header."""

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may pass."""
        return not getattr(self.here, "depth", 0)


_silence = _Silence()
# A filter holds for its own logger only, not for those below it.
for _name in ("pydicom", "PIL.PngImagePlugin", "PIL.TiffImagePlugin", "PIL.Image", "pylibjpeg", "openjpeg.utils"):
    logging.getLogger(_name).addFilter(_silence)


NO_MEMORY = -4
"""OpenCV's code of an error (cv2.Error.StsNoMem)."""


def lacks_memory(error: Exception) -> bool:
    """Whether an error says that there is no more memory: Python's and NumPy's by their class, OpenCV's by its code."""
    return isinstance(error, MemoryError) or getattr(error, "code", None) == NO_MEMORY


def too_much_memory(kind: str) -> FilmTooLargeError:
    """What is said of it."""
    return FilmTooLargeError(f"Decoding the {kind} takes more memory than it may. Send it smaller.")


@contextmanager
def broken_is_unreadable(kind: str) -> Iterator[None]:
    """Around another library's decoder or parser: whatever it raises over these bytes, these bytes are broken.

    Its own text is left out: it may quote the header, which names a patient, or an address in memory. What it warns
    of and logs may too, and is dropped. Raises UnreadableFilmError, FilmTooLargeError when the memory did not suffice.
    """
    _silence.here.depth = getattr(_silence.here, "depth", 0) + 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MedInterpError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise too_much_memory(kind) from None
        raise UnreadableFilmError(
            f"The {kind} is broken or cut off ({type(error).__name__}). Export it again, and send it whole."
        ) from None
    finally:
        _silence.here.depth -= 1
