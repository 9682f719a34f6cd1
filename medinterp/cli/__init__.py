"""The command line: `medinterp explain | audit | phantom | evaluate | sensitivity | calibrate | bench | selftest`."""

from __future__ import annotations

from medinterp.cli.main import main

__all__ = ["main"]
