"""Attaching to many decoder families: the same invariants for each."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from tiny_decoders import FAMILIES, SMALL, attached, make_adapter, make_facts, make_model
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from kblam.decoder import FactInput, attach, attention_layout, interface
from kblam.decoder.query_heads import query_norm
from kblam.errors import AdapterMismatchError, ConfigError


def _inputs(length: int = 9) -> dict[str, Tensor]:
    torch.manual_seed(3)
    ids = torch.randint(3, 128, (2, length))
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    return make_model(request.param)


@torch.no_grad()
def test_no_facts_and_detaching_are_the_base_bit_for_bit(model: PreTrainedModel) -> None:
    inputs = _inputs()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    base = model(**inputs).logits
    adapter = make_adapter(model)
    with attached(model, adapter) as decoder:
        assert torch.equal(model(**inputs).logits, base)
        with decoder.facts(make_facts(0)):
            assert torch.equal(model(**inputs).logits, base)
        with decoder.facts(make_facts(6)):
            changed = model(**inputs).logits
        assert torch.isfinite(changed).all()
        assert not torch.allclose(changed, base)
        # Nothing stays behind once the facts are taken away.
        assert torch.equal(model(**inputs).logits, base)
    assert torch.equal(model(**inputs).logits, base)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@torch.no_grad()
@pytest.mark.parametrize("selection", [True, False])
def test_the_order_of_facts_does_not_matter(model: PreTrainedModel, selection: bool) -> None:
    inputs, facts = _inputs(), make_facts(7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(4))
    shuffled = FactInput(facts.keys[order], facts.values[order])
    with attached(model, make_adapter(model, selection=selection)) as decoder:
        with decoder.facts(facts):
            first = model(**inputs).logits
        with decoder.facts(shuffled):
            second = model(**inputs).logits
    assert torch.allclose(first, second, atol=1e-4)


@torch.no_grad()
def test_encoder_space_equals_knowledge_tokens(model: PreTrainedModel) -> None:
    inputs = _inputs()
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(make_facts(7), form="absorbed"):
            absorbed = model(**inputs).logits
        with decoder.facts(make_facts(7), form="materialised"):
            materialised = model(**inputs).logits
    assert torch.allclose(absorbed, materialised, atol=1e-4)


@torch.no_grad()
def test_cached_decoding_equals_the_full_forward(model: PreTrainedModel) -> None:
    prompt = _inputs(6)["input_ids"][:1]
    following = torch.tensor([[5, 9, 17]])
    facts = make_facts(7)
    facts = FactInput(
        facts.keys, facts.values, prompt_mask=torch.ones(1, prompt.shape[1], dtype=torch.bool)
    )
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(facts):
            full = model(torch.cat([prompt, following], 1), use_cache=False).logits[:, 6:]
        with decoder.facts(facts):
            cache = model(prompt, use_cache=True).past_key_values
            steps = []
            for position in range(3):
                output = model(
                    following[:, position : position + 1], past_key_values=cache, use_cache=True
                )
                cache = output.past_key_values
                steps.append(output.logits)
    assert torch.allclose(torch.cat(steps, 1), full, atol=1e-4)


@torch.no_grad()
def test_each_row_reads_its_own_facts(model: PreTrainedModel) -> None:
    inputs = {"input_ids": _inputs()["input_ids"]}
    facts = make_facts(5, rows=2)
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(facts):
            together = model(**inputs).logits
        for row in range(2):
            one = FactInput(facts.keys[row], facts.values[row])
            with decoder.facts(one):
                alone = model(inputs["input_ids"][row : row + 1]).logits
            assert torch.allclose(together[row], alone[0], atol=1e-4)


@torch.no_grad()
def test_hidden_facts_leave_no_trace(model: PreTrainedModel) -> None:
    inputs, facts = _inputs(), make_facts(8)
    seen = torch.tensor([[True] * 5 + [False] * 3]).expand(2, -1)
    with attached(model, make_adapter(model)) as decoder:
        with decoder.facts(FactInput(facts.keys, facts.values, mask=seen)):
            masked = model(**inputs).logits
        with decoder.facts(FactInput(facts.keys[:5], facts.values[:5])):
            alone = model(**inputs).logits
    assert torch.allclose(masked, alone, atol=1e-5)


def test_query_heads_start_as_the_layers_own_queries(model: PreTrainedModel) -> None:
    """At position 0 a rotation is none, so the head's queries are the layer's own there."""
    adapter = make_adapter(model)
    layer = adapter.config.knowledge_layers[0]
    with attached(model, adapter) as decoder:
        seen: dict[str, Tensor] = {}
        module = decoder.layout.modules[layer]
        original = interface._base_function

        def spy(base: str, inner: Any) -> Any:
            if inner is module:

                def capture(m: Any, query: Tensor, *args: Any, **kwargs: Any) -> Any:
                    seen["query"] = query
                    return original(base, inner)(m, query, *args, **kwargs)

                return capture
            return original(base, inner)

        hook = module.register_forward_pre_hook(
            lambda m, args, kwargs: seen.update(
                hidden=kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            ),
            with_kwargs=True,
        )
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            patch.setattr(interface, "_base_function", spy)
            model(_inputs()["input_ids"])
        hook.remove()
        head = adapter.layer(layer).query
        assert head is not None
        config = adapter.config
        made = query_norm(module, head(seen["hidden"]), config.num_heads, config.head_dim)
    # Some families rotate only part of a head, none rotates position 0; YaRN (GPT-OSS) scales
    # the rotated part besides, so directions are compared.
    ours, theirs = made[:, :, 0].flatten(1), seen["query"][:, :, 0].flatten(1)
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 1 - 1e-5


@torch.no_grad()
def test_low_rank_query_heads_start_as_full_ones() -> None:
    model = make_model("phi3")
    inputs, facts = _inputs(), make_facts(6)
    logits = []
    for kind in ("full", "lora"):
        adapter = make_adapter(model, query_head=kind)
        with attached(model, adapter) as decoder, decoder.facts(facts):
            logits.append(model(**inputs).logits)
    assert torch.allclose(logits[0], logits[1], atol=1e-5)


def test_an_adapter_for_another_shape_is_refused() -> None:
    adapter = make_adapter(make_model("llama"))
    config = AutoConfig.for_model("llama", **{**SMALL, "hidden_size": 32})
    other = AutoModelForCausalLM.from_config(config)
    with pytest.raises(AdapterMismatchError, match="hidden size"):
        attach(other, adapter)


def test_a_second_attachment_and_a_second_generation_are_refused() -> None:
    model = make_model("llama")
    adapter = make_adapter(model)
    with attached(model, adapter) as decoder:
        with pytest.raises(ConfigError, match="detach"):
            attach(model, adapter)
        with (
            decoder.facts(make_facts(3)),
            pytest.raises(ConfigError, match="one generation"),
            decoder.facts(make_facts(3)),
        ):
            pass


def test_detaching_again_leaves_a_later_attachment_alone() -> None:
    model = make_model("llama")
    adapter = make_adapter(model)
    first = attach(model, adapter)
    first.detach()
    with attached(model, adapter) as second:
        first.detach()
        with second.facts(make_facts(3)):
            assert model(torch.arange(5, 17)[None]).logits.isfinite().all()


@pytest.mark.parametrize(
    ("family", "settings", "expected"),
    [
        ("gptj", {"rotary_dim": 8}, "GPTJAttention attends by itself"),
        ("codegen", {"rotary_dim": 8}, "CodeGenAttention attends by itself"),
        ("bloom", {}, "BloomAttention attends by itself"),
        ("xglm", {}, "XGLMAttention attends by itself"),
        ("falcon", {}, "FalconAttention attends by itself"),
        ("gpt2", {}, r"GPT2Attention has none of the projections q_proj"),
        ("deepseek_v3", {}, "latent"),
        ("deepseek_v3", {"q_lora_rank": None}, "latent"),
        ("minicpm3", {}, "latent"),
        ("gemma4_text", {}, "heads are all of one size"),
    ],
)
def test_a_family_whose_layers_cannot_read_facts_is_refused(
    family: str, settings: dict[str, Any], expected: str
) -> None:
    with torch.device("meta"):
        model = make_model(family, **settings)
    with pytest.raises(ConfigError, match=expected):
        attention_layout(model)


@torch.no_grad()
@pytest.mark.parametrize("name", ["key.weight", "key.bias", "value.weight", "value.bias"])
def test_an_adapter_changed_in_place_is_read_as_it_is(name: str) -> None:
    model = make_model("llama")
    adapter = make_adapter(model)
    layer = adapter.layer(adapter.config.knowledge_layers[-1])
    with attached(model, adapter) as decoder:
        logits = []
        for _ in range(2):
            with decoder.facts(make_facts(6)):
                logits.append(model(**_inputs()).logits)
            layer.get_parameter(name).add_(torch.linspace(-5, 5, 12) if "weight" in name else 5.0)
    assert not torch.allclose(logits[0], logits[1])


@torch.no_grad()
def test_a_model_is_let_go_with_what_was_attached_to_it() -> None:
    model = make_model("llama")
    decoder = attach(model, make_adapter(model))
    with decoder.facts(make_facts(3)):
        model(**_inputs())
    kept = weakref.ref(model)
    del model, decoder
    gc.collect()
    assert kept() is None


@torch.no_grad()
def test_facts_that_no_layer_reads_are_an_error() -> None:
    model = make_model("llama")
    with attached(model, make_adapter(model)) as decoder:
        model.set_attn_implementation("sdpa")
        with decoder.facts(make_facts(0)):
            model(**_inputs())
        with (
            decoder.facts(make_facts(3)),
            pytest.raises(ConfigError, match=r"layer 2 ran without it.*attach again"),
        ):
            model(**_inputs())


@pytest.mark.parametrize("base", ["flex_attention", "flash_attention_2"])
def test_an_attention_implementation_with_masks_of_its_own_is_refused(base: str) -> None:
    model = make_model("llama")
    model.config._attn_implementation_internal = base  # as if loaded so, on a machine that can
    with pytest.raises(ConfigError, match=f"{base}.*attn_implementation='sdpa'"):
        attach(model, make_adapter(model))
    assert model.config._attn_implementation == base


@torch.no_grad()
def test_eager_and_fused_bases_read_facts_alike() -> None:
    model, inputs, logits = make_model("llama"), _inputs(), []
    for base in ("eager", "sdpa"):
        model.set_attn_implementation(base)
        with attached(model, make_adapter(model)) as decoder, decoder.facts(make_facts(6)):
            logits.append(model(**inputs).logits[inputs["attention_mask"].bool()])
    assert torch.allclose(logits[0], logits[1], atol=1e-5)


def test_facts_of_another_encoder_are_refused() -> None:
    model = make_model("llama")
    with attached(model, make_adapter(model)) as decoder:
        wrong = FactInput(torch.zeros(3, 5), torch.zeros(3, 5))
        with pytest.raises(ConfigError, match="12 dimensions"), decoder.facts(wrong):
            pass
