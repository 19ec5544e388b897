"""The weights of a BERT layer, in the form in which they are multiplied fastest."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kblam.encoding.reader import EncoderLayer

__all__ = ["Affine", "Layer", "Linear", "from_training", "in_format", "layer_of", "to_train"]

# Tokens of a question, or two.
_TYPICAL = 32


class Affine(NamedTuple):
    """A weight and a bias."""

    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, module: Any) -> Affine:
        """Those of a module, in float32."""
        return cls(module.weight.detach().float(), module.bias.detach().float())

    def to(self, dtype: torch.dtype) -> Affine:
        """The same in another format."""
        return Affine(self.weight.to(dtype), self.bias.to(dtype))


class Linear:
    """A weight and a bias that are multiplied by.

    In bfloat16 on a CPU the weight is packed once, as its matrix units read it. ``F.linear`` packs
    it for every product, which takes a few tokens' texts as long as the product itself.
    """

    def __init__(self, parts: Affine) -> None:
        self.dtype = parts.weight.dtype
        self.parts = parts
        self._packed = _packed(parts)

    def to(self, dtype: torch.dtype) -> Linear:
        """The same in another format."""
        return Linear(self.parts.to(dtype))

    def __call__(self, states: Tensor) -> Tensor:
        """Multiply, (..., in) to (..., out)."""
        if self._packed is None:
            return F.linear(states, *self.parts)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self._packed, self.parts.bias, "none", [], ""
        )
        return found


def _packed(parts: Affine) -> Tensor | None:
    """A weight for PyTorch's own product of packed ones, None where there is none."""
    weight, bias = parts
    if weight.dtype != torch.bfloat16 or weight.device.type != "cpu":
        return None
    probe = torch.ones(1, weight.shape[1], dtype=weight.dtype)
    try:
        packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _TYPICAL)
        found = torch.ops.mkldnn._linear_pointwise(probe, packed, bias, "none", [], "")
    except (AttributeError, RuntimeError, TypeError):  # not in this build of PyTorch
        return None
    return packed if torch.equal(found, F.linear(probe, weight, bias)) else None


class Layer(NamedTuple):
    """Attention and what comes after it, each with the norm that follows."""

    qkv: Linear
    mixed: Linear
    mixed_norm: Affine
    up: Linear
    down: Linear
    norm: Affine


def in_format(layer: Layer, dtype: torch.dtype) -> Layer:
    """A layer whose numbers are in another format."""
    parts: Any = (part.to(dtype) for part in layer)
    return Layer(*parts)


def from_training(layer: EncoderLayer, device: torch.device) -> Layer:
    """A layer that was trained, to be used on a device."""

    def part(module: Any) -> Affine:
        return Affine(*(numbers.to(device) for numbers in Affine.of(module)))

    return Layer(
        qkv=Linear(part(layer.qkv)),
        mixed=Linear(part(layer.mixed)),
        mixed_norm=part(layer.mixed_norm),
        up=Linear(part(layer.up)),
        down=Linear(part(layer.down)),
        norm=part(layer.norm),
    )


def to_train(layer: Layer) -> EncoderLayer:
    """A copy of a layer, to be trained."""
    found = EncoderLayer(layer.up.parts.weight.shape[1])
    with torch.no_grad():
        for name, part in layer._asdict().items():
            parts = part.parts if isinstance(part, Linear) else part
            module = getattr(found, name)
            module.weight.copy_(parts.weight)
            module.bias.copy_(parts.bias)
    return found


def layer_of(layer: Any) -> Layer:
    """The weights of one of a ``BertModel``'s layers."""
    attention, made = layer.attention.self, layer.attention.output
    parts = [Affine.of(part) for part in (attention.query, attention.key, attention.value)]
    return Layer(
        qkv=Linear(
            Affine(
                torch.cat([part.weight for part in parts]),
                torch.cat([part.bias for part in parts]),
            )
        ),
        mixed=Linear(Affine.of(made.dense)),
        mixed_norm=Affine.of(made.LayerNorm),
        up=Linear(Affine.of(layer.intermediate.dense)),
        down=Linear(Affine.of(layer.output.dense)),
        norm=Affine.of(layer.output.LayerNorm),
    )
