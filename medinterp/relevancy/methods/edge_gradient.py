"""Edge gradient: what cutting the edge to a cell would take away, to first order (model/gradients.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="edge_gradient",
    family="gradient",
    title="Edge gradient",
    meaning="First-order loss of the word when its own look at a cell is cut; only what it read itself counts.",
    citation="edge attribution, Syed et al., Attribution Patching, 2023, sec. 3, for a cut that renormalises the row",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
    unit="nats of log-probability",
)
