"""The film gate: is this a frontal chest film, the right way up and the right way round?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from medinterp.errors import FilmWithheldError
from medinterp.types import Film, FilmWarning


def look(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> tuple[FilmWarning, ...]:
    """What is doubtful about a film by its look alone; pixels as in Film."""
    return ()


def withhold(film: Film) -> None:
    """Raise FilmWithheldError when one of the film's warnings makes a report meaningless."""
    withholding = tuple(warning for warning in film.warnings if warning.withholds)
    if withholding:
        raise FilmWithheldError(withholding)
