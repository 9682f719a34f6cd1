"""Ray's failures in the words of medinterp.errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, RayServeException

from medinterp.errors import MedInterpError, ServiceBusyError, ServiceInterruptedError


def original(error: BaseException) -> BaseException:
    """What was raised in the replica, however often Ray has wrapped it on the way."""
    while isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        error = error.cause
    return error


@contextmanager
def translated() -> Iterator[None]:
    """Raise the replica's own error, or ServiceError for what befell the replica.

    A defect in a replica's code passes as it is: it is no passing state of the service.
    """
    try:
        yield
    except (RayError, RayServeException) as error:
        found = original(error)
        if isinstance(found, MedInterpError):
            raise found from None
        if isinstance(found, BackPressureError):
            raise ServiceBusyError("every place is taken; try again shortly") from error
        defect = isinstance(found, RayTaskError) or not isinstance(found, RayError | RayServeException)
        if defect and not isinstance(found, TaskCancelledError):
            raise
        raise ServiceInterruptedError("a part of the service went away; try again shortly") from error
