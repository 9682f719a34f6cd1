"""Loading a model in a process where others run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from medinterp.model.turns import Turns


@contextmanager
def loading_beside(others: Sequence[Turns]) -> Iterator[None]:
    """Models are loaded in here, one after the other, while those whose turns are given run.

    While transformers builds a model it sets torch's default dtype, which is the whole process's, and puts other
    functions in the place of some of torch's: a step of another model would be computed with those. So the others stand
    still between two steps, for as long as a model is built (`PreTrainedModel.get_init_context`; a second or so), and
    go on while its weights are read. Not for two threads at once.
    """
    from transformers import modeling_utils

    real: Any = modeling_utils.local_torch_dtype

    @contextmanager
    def alone(*args: Any, **kwargs: Any) -> Iterator[None]:
        with ExitStack() as held:
            for turns in others:
                held.enter_context(turns.once())
            with real(*args, **kwargs):
                yield

    modeling_utils.local_torch_dtype = alone
    try:
        yield
    finally:
        modeling_utils.local_torch_dtype = real
