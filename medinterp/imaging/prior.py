"""Which of two films an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from medinterp.errors import FilmError, FilmWithheldError, SelectionError


@contextmanager
def about_prior() -> Iterator[None]:
    """What is raised within about a film says that it is the prior one: its text begins with "prior: "."""
    try:
        yield
    except FilmWithheldError as error:
        raise FilmWithheldError(error.warnings, "prior") from None
    except (FilmError, SelectionError) as error:
        raise type(error)(f"prior: {error}") from error
