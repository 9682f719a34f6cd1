"""The film as the model gets it: at its resolution, in its grays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medinterp.types import Film

if TYPE_CHECKING:
    from medinterp.model.loading import LoadedModel


def model_view(loaded: LoadedModel, film: Film) -> npt.NDArray[np.uint8]:
    """What the processor makes of the film, its normalisation taken back: uint8 [height, width], or with
    a third axis where not gray.

    The same pixels as in a prompt (prompt.build_prompt), rounded to the nearest of 256 levels. The tokenizer, which
    may be asked by one thread only, takes no part in it.
    """
    from PIL import Image

    from medinterp.imaging import rgb8

    processor = loaded.processor.image_processor
    values = loaded.family.picture(processor, Image.fromarray(rgb8(film)))
    if processor.do_normalize:
        values = values * np.asarray(processor.image_std) + np.asarray(processor.image_mean)
    if processor.do_rescale:
        values = values / processor.rescale_factor
    picture = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    if (picture == picture[:, :, :1]).all():
        picture = picture[:, :, 0]
    return np.ascontiguousarray(picture)
