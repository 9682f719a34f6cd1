"""Gradient relevancy: attention times its gradient, followed through all layers (model/gradients.py)."""

from __future__ import annotations

from medinterp.relevancy.method import Method

METHOD = Method(
    name="gradient_relevancy",
    family="gradient",
    title="Gradient relevancy",
    meaning="Attention that raised the word's logit, followed through all layers.",
    citation="Chefer et al., Generic Attention-Model Explainability, ICCV 2021, eq. 5 and 6",
    needs=frozenset(),
    on_model=True,
    signed=False,
    additive=False,
    unit="relevancy, no unit",
)
