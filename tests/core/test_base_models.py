"""Base models that somebody else loaded, with PEFT adapters of their own or without."""

from __future__ import annotations

import copy
import gc
from pathlib import Path

import peft
import pytest
import torch
from tiny_kblam import (
    FACTS,
    Folders,
    WordEncoder,
    answer_after_colons,
    as_if_trained,
    logits_with_facts,
    make_adapter,
    make_decoder,
    make_tokenizer,
    save_tiny,
)
from transformers import LlamaForCausalLM

from kblam import adapter as adapters
from kblam.config import GenerationOptions
from kblam.decoder import FactInput
from kblam.errors import ConfigError
from kblam.model import KBLaM


@pytest.fixture(scope="module")
def words() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="module")
def decoder() -> LlamaForCausalLM:
    return make_decoder(make_tokenizer())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
class TestBasesWithAdaptersOfTheirOwn:
    """A base model that carries a PEFT adapter works as a base."""

    @pytest.fixture
    def tuned(self) -> peft.PeftModel:
        config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        torch.manual_seed(3)
        model = peft.get_peft_model(make_decoder(make_tokenizer()), config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
        return model.eval()

    def test_it_attaches_and_detaches(self, tuned, decoder, words) -> None:
        inner, ids = tuned.get_base_model(), torch.arange(5, 17)[None]
        with torch.no_grad():
            before = tuned(ids).logits
            assert not torch.allclose(before, decoder(ids).logits)
        adapter = as_if_trained(make_adapter(inner, words))
        changed = logits_with_facts(inner, adapter, words)
        assert not torch.allclose(changed, before)
        assert not torch.allclose(changed, logits_with_facts(decoder, adapter, words))
        with torch.no_grad():
            assert torch.equal(tuned(ids).logits, before)

    def test_a_peft_model_is_a_base_model(self, tuned, words, tmp_path: Path) -> None:
        tokenizer, ids = make_tokenizer(), torch.arange(5, 17)[None]
        with torch.no_grad():
            before = tuned(ids).logits
        inner = tuned.get_base_model()
        adapters.save_pretrained(make_adapter(inner, words), tmp_path, inner, base_model="tiny")
        model = KBLaM.from_pretrained(tuned, adapter=tmp_path, encoder=words, tokenizer=tokenizer)
        assert model.base is inner
        answer = model.attach(FACTS).ask("What is the budget of Borealis?")
        assert answer.facts[0].fact.value == "48200 euros"
        del model, answer
        gc.collect()
        # What was handed in is as it was, once no KBLaM uses it.
        with torch.no_grad():
            assert torch.equal(tuned(ids).logits, before)
        assert inner.config._attn_implementation == "sdpa"

    def test_prompt_learning_is_refused(self, words) -> None:
        config = peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
        model = peft.get_peft_model(make_decoder(make_tokenizer()), config)
        with pytest.raises(ConfigError, match="prompt learning"):
            KBLaM.from_pretrained(model, adapter=None, encoder=words, tokenizer=make_tokenizer())


def test_a_loaded_model_is_shared_and_given_back(tmp_path: Path, words) -> None:
    folders: Folders = save_tiny(tmp_path, words)
    decoder, tokenizer = make_decoder(make_tokenizer()), make_tokenizer()

    def load() -> KBLaM:
        return KBLaM.from_pretrained(
            decoder, adapter=folders.adapter, encoder=words, tokenizer=tokenizer
        )

    one, two = load(), load()
    assert one.base is two.base is decoder
    assert one.attach(FACTS).ask("Who?").facts
    assert not two.ask("Who?").facts
    del one, two
    gc.collect()
    assert decoder.config._attn_implementation == "sdpa"
    assert not decoder.lm_head._forward_pre_hooks
    assert load().attach(FACTS).ask("Who?").facts


def test_a_loaded_model_is_shared_however_its_parts_are_spelled(
    tmp_path: Path, words, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, adapter = make_decoder(make_tokenizer()), save_tiny(tmp_path, words).adapter
    monkeypatch.chdir(tmp_path)
    one, *others = [
        KBLaM.from_pretrained(decoder, adapter=path, encoder=words, tokenizer=make_tokenizer())
        for path in (adapter, f"{adapter}/", "adapter")
    ]
    # Calls of its own leave a tokenizer the same.
    one.tokenizer("Who?", truncation=True, max_length=9)
    others.append(
        KBLaM.from_pretrained(decoder, adapter=adapter, encoder=words, tokenizer=make_tokenizer())
    )
    assert all(other.tokenizer is one.tokenizer for other in others)
    for changed in ({"encoder": WordEncoder()}, {"tokenizer": make_tokenizer(size=290)}):
        given = {"encoder": words, "tokenizer": make_tokenizer(), **changed}
        with pytest.raises(ConfigError, match=r"one adapter, encoder and tokenizer.*delete"):
            KBLaM.from_pretrained(decoder, adapter=adapter, **given)


def test_a_copy_of_a_model_with_knowledge_is_one_without(tmp_path: Path, words) -> None:
    tokenizer = make_tokenizer()
    given = {"adapter": save_tiny(tmp_path, words).adapter, "encoder": words}
    one = KBLaM.from_pretrained(make_decoder(tokenizer), tokenizer=tokenizer, **given)
    copied = copy.deepcopy(one.base)
    ids = torch.arange(5, 17)[None]
    facts = FactInput(*(torch.from_numpy(words.encode(["Aurora", "budget"])) for _ in "kv"))
    with torch.no_grad(), one._engine.decoder.facts(facts):
        # The original's facts are none of the copy's.
        assert torch.equal(copied(ids).logits, make_decoder(tokenizer)(ids).logits)
    two = KBLaM.from_pretrained(copied, tokenizer=tokenizer, **given)
    answers = [model.attach(FACTS).ask("Who?", GenerationOptions(6)) for model in (two, one)]
    assert two.base is copied
    assert len({answer.text for answer in answers}) == 1
    assert all(answer.facts for answer in answers)
    del two
    gc.collect()
    assert copied.config._attn_implementation == "sdpa"


def test_a_model_made_in_inference_mode_answers(tmp_path: Path, words) -> None:
    folders = save_tiny(tmp_path, words, copies="after a colon")
    question = "What is the office of Project Heron?"
    with torch.inference_mode():
        named = KBLaM.from_pretrained(folders.base, adapter=folders.adapter, encoder=words)
        decoder = make_decoder(make_tokenizer())
        answer_after_colons(decoder, make_tokenizer())
        given = KBLaM.from_pretrained(
            decoder, adapter=folders.adapter, encoder=words, tokenizer=named.tokenizer
        )
        inside = [model.attach(FACTS).ask(question).text for model in (named, given)]
    assert not named.base.lm_head.weight.is_inference()
    assert given.base.lm_head.weight.is_inference()
    assert inside == [model.ask(question).text for model in (named, given)]
    assert inside == ["Ljubljana"] * 2


def test_a_loaded_model_needs_its_tokenizer(decoder) -> None:
    with pytest.raises(ConfigError, match="tokenizer"):
        KBLaM.from_pretrained(decoder, adapter=None)
