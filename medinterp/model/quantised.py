"""Weights of 8 and 4 bits (bitsandbytes): decoder layers alone; all else stays as it was saved.

4 bits: NF4 in blocks of 64 weights, multiplied by what the module makes of them: linear in its input, so that rows,
gradients and value norms are those of the model as it computes.
8 bits: LLM.int8() rounds each module's input too, and takes columns out of the rounding that other tokens of the same
pass choose: a report that is read in one pass is then not the report as it was written, and what a cell is worth drowns
in steps of 1/127. Here its integers and row scales are kept, and multiplied with the input as it is.
"""

from __future__ import annotations

from typing import Any

import torch

from medinterp.errors import ModelError

KINDS = ("8bit", "4bit")


def quantization_config(kind: str, beside: list[str], dtype: torch.dtype) -> Any:
    """What transformers takes to quantise as it loads; beside: modules that stay as they are.

    Raises ModelError for another kind, and where bitsandbytes is not installed.
    """
    if kind not in KINDS:
        raise ModelError(f"quantization {kind!r} is not one of {', '.join(KINDS)}")
    require_library("loading in 8 or 4 bits")
    from transformers import BitsAndBytesConfig

    build: Any = BitsAndBytesConfig
    four = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    return build(
        load_in_8bit=kind == "8bit",
        load_in_4bit=kind == "4bit",
        llm_int8_skip_modules=beside,
        **(four if kind == "4bit" else {}),
    )


def odd_widths(model: Any) -> list[str]:
    """Linear modules whose rows are not whole blocks of 64 weights.

    On a CPU bitsandbytes 0.50 quantises them wrong (28 % of the norm instead of 9 %), so that they stay as they are.
    """
    linear = ((name, module) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return [name for name, module in linear if module.in_features % 64]


def quantised_as(config: Any) -> str | None:
    """How a checkpoint is saved quantised, None where it is not. Raises ModelError for kinds that are not read."""
    told = getattr(config, "quantization_config", None)
    if told is None:
        return None
    kind = str(told.get("quant_method") if isinstance(told, dict) else told.quant_method)
    if "bitsandbytes" not in kind:
        raise ModelError(
            f"the checkpoint is quantised by {kind}, which is not read here: take the full one, with quantization 8bit "
            "or 4bit, or one saved by bitsandbytes"
        )
    return kind


def require_library(what: str) -> None:
    """Raise ModelError where bitsandbytes cannot be imported."""
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise ModelError(
            f"{what} needs the package bitsandbytes: pip install 'medinterp[model,quantization]'"
        ) from error


class Int8Linear(torch.nn.Module):
    """y = x W^T + b with W = integers times the scale of their row: exactly linear, whatever else is in the pass."""

    def __init__(self, integers: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        """integers: int8 [out, in]; scale: float32 [out]."""
        super().__init__()
        self.register_buffer("integers", integers)
        self.register_buffer("scale", scale)
        self.bias = bias
        self.out_features, self.in_features = integers.shape

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out], in the rows' dtype."""
        made: torch.Tensor = _Scaled.apply(rows, self.integers, self.scale)  # type: ignore[no-untyped-call]
        return made if self.bias is None else made + self.bias


class _Scaled(torch.autograd.Function):
    """Keeps the integers for the way back, where autograd would keep the weights that they stand for."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, integers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """(x Q^T) s."""
        ctx.save_for_backward(integers, scale)
        return torch.nn.functional.linear(rows, integers.to(rows.dtype)) * scale.to(rows.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """(g s) Q."""
        integers, scale = ctx.saved_tensors
        return (slopes[0] * scale.to(slopes[0].dtype)) @ integers.to(slopes[0].dtype), None, None


def plain_products(model: Any) -> None:
    """Put an Int8Linear in the place of every Linear8bitLt, and keep those of 4 bits from packing themselves anew.

    On CPUs with AVX512-BF16 bitsandbytes 0.50 packs 4 bits for a kernel without gradients.
    """
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    if isinstance(model.get_output_embeddings(), (Linear4bit, Linear8bitLt)):
        raise ModelError(
            "the checkpoint's output embedding is quantised, of which a word's scores are read: save it again with "
            'llm_int8_skip_modules=["lm_head"]'
        )
    for name, module in list(model.named_modules()):
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
        elif isinstance(module, Linear8bitLt):
            weight: Any = module.weight
            integers, scale = (weight.CB if weight.CB is not None else weight.data), weight.SCB
            if integers.dtype != torch.int8 or scale is None:
                raise ModelError(f"{name} is not as bitsandbytes saves 8 bits: int8 weights and their SCB")
            owner, _, attribute = name.rpartition(".")
            made = Int8Linear(integers.detach(), scale.detach().float() / 127.0, module.bias)
            setattr(model.get_submodule(owner), attribute, made)
