"""Integrated gradients: what a cell is worth when the picture fades away as a whole (model/integrated.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="integrated_gradients",
    family="gradient",
    title="Integrated gradients",
    meaning="What each cell is worth to the word while the whole picture fades: cells that repeat each other share it.",
    citation="Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, eq. 1",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
    unit="nats of log-probability",
)
