"""Our own log lines in Serve's log."""

from __future__ import annotations

import logging


def join_serve_log(*, as_json: bool = False) -> None:
    """Send what `medinterp` logs where Serve sends its own: to the replica's file and the console.

    as_json: our lines as JSON objects; Serve's own follow `logging_config.encoding`.
    """
    serve, ours = logging.getLogger("ray.serve"), logging.getLogger("medinterp")
    ours.handlers = list(serve.handlers)
    ours.setLevel(serve.level)
    ours.propagate = False
    if as_json:
        from medinterp.api.log_lines import OursAsJson

        for handler in ours.handlers:
            if not isinstance(handler.formatter, OursAsJson):
                handler.setFormatter(OursAsJson(handler.formatter))
