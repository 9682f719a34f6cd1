"""Our own log lines in Serve's log."""

from __future__ import annotations

import logging


def join_serve_log() -> None:
    """Send what `medinterp` logs where Serve sends its own: to the replica's file and the console."""
    serve, ours = logging.getLogger("ray.serve"), logging.getLogger("medinterp")
    ours.handlers = list(serve.handlers)
    ours.setLevel(serve.level)
    ours.propagate = False
