"""Integrated edge gradient: integrated gradients by the word's own looks alone (model/integrated.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="integrated_edge_gradient",
    family="gradient",
    title="Integrated edge gradient",
    meaning="What the word's own looks at each cell are worth while the whole picture fades: the direct share.",
    citation="Hanna et al., Have Faith in Faithfulness, COLM 2024, sec. 3 (EAP-IG)",
    needs=frozenset(),
    on_model=True,
    signed=True,
    additive=True,
    unit="nats of log-probability",
)
