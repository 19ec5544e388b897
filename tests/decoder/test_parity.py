"""Agreement with the published KBLaM implementation, on its own outputs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from kblam.decoder import FactInput, FactSession, attach
from kblam.decoder.interface import LAYERS
from kblam.decoder.modules import KnowledgeAdapter
from kblam.encoding import LinearAdapter
from kblam.errors import AdapterError
from kblam.published import adapter_from_published

PARITY = Path(__file__).parent.parent / "data" / "parity"
CASES = json.loads((PARITY / "cases.json").read_text())
FORMS = ("materialised", "absorbed")


@pytest.fixture(scope="module")
def golden() -> dict[str, dict[str, Tensor]]:
    grouped: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(PARITY / "golden.safetensors").items():
        case, _, rest = name.partition(".")
        grouped.setdefault(case, {})[rest] = tensor
    return grouped


def _model() -> LlamaForCausalLM:
    model = LlamaForCausalLM.from_pretrained(PARITY / "base", dtype=torch.float32)
    return model.eval()


def _load(case: dict[str, Any], tensors: dict[str, Tensor]) -> KnowledgeAdapter:
    return adapter_from_published(
        tensors if case["sep_query_head"] else _without_queries(tensors),
        num_heads=4,
        head_dim=16,
        knowledge_layers=tuple(case["kb_layers"]),
        scale_factor=case["kb_scale_factor"],
    )


def _without_queries(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in tensors.items() if not k.startswith("q_proj_new")}


def _with_rounding(
    adapter: KnowledgeAdapter, tensors: dict[str, Tensor]
) -> tuple[KnowledgeAdapter, FactInput]:
    """The published run rounded its knowledge tokens to bfloat16, after the key norm.

    Norm and rounding are numbers per fact, so they are written here as more encoder
    dimensions, ``[e / sigma, 1 / sigma, one-hot]``: the maps stay linear, and both forms can
    be held to the golden figures. The key norm itself is tested below.
    """
    keys, values = tensors["emb_key"], tensors["emb_value"]
    rows, facts = keys.shape[:2]
    config = adapter.config
    weight = torch.cat([block.weight for block in adapter.key_blocks()]).detach()
    bias = torch.cat([block.bias for block in adapter.key_blocks()]).detach()
    weight, bias = weight - weight.mean(0), bias - bias.mean()
    row = keys @ weight.T + bias
    scale = torch.rsqrt(row.square().mean(-1, keepdim=True) + 1e-5)
    key_rest = tensors["kb_key"].float().view_as(row) - row * scale
    one_hot = torch.eye(rows * facts).view(rows, facts, -1)
    new_keys = torch.cat([keys * scale, scale, one_hot], -1)
    new_values = torch.cat([values, torch.zeros_like(scale), one_hot], -1)
    rounded = KnowledgeAdapter(
        dataclasses.replace(config, encoder_dimension=new_keys.shape[-1], key_norm=False)
    )
    width = config.num_heads * config.head_dim
    for position, layer in enumerate(config.knowledge_layers):
        part = slice(position * width, (position + 1) * width)
        source, target = adapter.layer(layer), rounded.layer(layer)
        value_row = values @ source.value.weight.T + source.value.bias
        value_rest = tensors["kb_value"].float().view_as(row)[..., part] - value_row
        _fill(target.key, [weight[part], bias[part, None], key_rest[..., part]], 0 * bias[part])
        nothing = torch.zeros(width, 1)
        _fill(target.value, [source.value.weight, nothing, value_rest], source.value.bias)
        target.query = source.query
    if rows == 1:
        new_keys, new_values = new_keys[0], new_values[0]
    return rounded, FactInput(new_keys.detach(), new_values.detach())


def _fill(linear: LinearAdapter, columns: list[Tensor], bias: Tensor) -> None:
    *maps, rest = columns
    weight = torch.cat([*maps, rest.flatten(0, 1).T], dim=1)
    linear.weight = torch.nn.Parameter(weight.detach())
    linear.bias = torch.nn.Parameter(bias.detach())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_logits_attention_and_greedy_tokens_agree(
    case: dict[str, Any], form: Any, golden: dict[str, dict[str, Tensor]]
) -> None:
    tensors = golden[case["name"]]
    adapter, facts = _with_rounding(_load(case, tensors), tensors)
    model = _model()
    decoder = attach(model, adapter)
    mask = tensors["attention_mask"]
    seen: dict[int, Tensor] = {}
    with torch.no_grad(), decoder.facts(facts, form=form) as session:
        session.record = lambda layer, weights: seen.update({layer: weights})  # type: ignore[method-assign]
        logits = model(
            input_ids=tensors["input_ids"],
            attention_mask=mask,
            position_ids=tensors["position_ids"],
        ).logits
    real = mask.bool()
    assert (logits - tensors["logits"])[real].abs().max() < 1e-4
    for layer in case["kb_layers"]:
        expected = tensors[f"attention.{layer}"][..., : case["n_facts"]]
        difference = (seen[layer] - expected).transpose(1, 2)[real]
        assert difference.abs().max() < 1e-5
    one = FactInput(facts.keys[:1], facts.values[:1]) if facts.keys.dim() == 3 else facts
    with torch.no_grad(), decoder.facts(one, form=form):
        generated = model.generate(
            tensors["input_ids"][:1],
            attention_mask=mask[:1],
            max_new_tokens=8,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
    assert torch.equal(
        generated[0, tensors["input_ids"].shape[1] :].cpu(), tensors["greedy"].flatten().cpu()
    )
    decoder.detach()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_without_facts_it_is_the_base_model(
    case: dict[str, Any], golden: dict[str, dict[str, Tensor]]
) -> None:
    tensors = golden[case["name"]]
    model = _model()
    inputs = {name: tensors[name] for name in ("input_ids", "attention_mask", "position_ids")}
    with torch.no_grad():
        base = model(**inputs).logits
        decoder = attach(model, _load(case, tensors))
        attached = model(**inputs).logits
        decoder.detach()
        detached = model(**inputs).logits
    real = tensors["attention_mask"].bool()
    assert (base - tensors["logits_no_kb"])[real].abs().max() < 1e-4
    assert torch.equal(base, attached)
    assert torch.equal(base, detached)
    assert not any(module in LAYERS for module in model.modules())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_knowledge_tokens_agree_before_rounding(
    case: dict[str, Any], golden: dict[str, dict[str, Tensor]]
) -> None:
    tensors = golden[case["name"]]
    adapter = _load(case, tensors)
    session = FactSession(adapter, FactInput(tensors["emb_key"], tensors["emb_value"]))
    rows, facts = tensors["emb_key"].shape[:2]
    for position, layer in enumerate(case["kb_layers"]):
        keys, values = session.tokens(layer, torch.float32)
        for ours, name in ((keys, "kb_key_fp32"), (values, "kb_value_fp32")):
            theirs = tensors[name].reshape(rows, facts, -1, 4, 16)[:, :, position]
            assert (ours.transpose(1, 2) - theirs).abs().max() < 1e-5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_key_norm_in_encoder_space_equals_knowledge_tokens(
    case: dict[str, Any], golden: dict[str, dict[str, Tensor]]
) -> None:
    tensors = golden[case["name"]]
    model = _model()
    decoder = attach(model, _load(case, tensors))
    facts = FactInput(tensors["emb_key"], tensors["emb_value"])
    inputs = {name: tensors[name] for name in ("input_ids", "attention_mask", "position_ids")}
    logits = []
    for form in FORMS:
        with torch.no_grad(), decoder.facts(facts, form=form):  # type: ignore[arg-type]
            logits.append(model(**inputs).logits[tensors["attention_mask"].bool()])
    assert (logits[0] - logits[1]).abs().max() < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        "encoder.projector_k.weight",
        "encoder.projector_k.bias",
        "encoder.projector_v.weight",
        "encoder.projector_v.bias",
        "q_proj_new.0.weight",
    ],
)
def test_a_tensor_of_another_shape_is_named(golden, name: str) -> None:
    case = next(case for case in CASES if case["sep_query_head"])
    tensors = golden[case["name"]]
    for wrong in (tensors[name][:-1], tensors[name][None], torch.zeros(())):
        with pytest.raises(AdapterError, match=name.replace(".", r"\.")):
            _load(case, {**tensors, name: wrong})
    missing = {key: tensor for key, tensor in tensors.items() if key != name}
    with pytest.raises(AdapterError, match=name.replace(".", r"\.")):
        _load(case, missing)
