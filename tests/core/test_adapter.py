"""Adapters on disk: what comes back, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny_kblam import (
    WordEncoder,
    as_if_trained,
    logits_with_facts,
    make_adapter,
    make_decoder,
    make_tokenizer,
    save_tiny,
)
from transformers import LlamaForCausalLM

from kblam import adapter as adapters
from kblam.decoder import KnowledgeAdapter
from kblam.encoding import LinearAdapter
from kblam.errors import AdapterError, AdapterMismatchError
from kblam.model import KBLaM

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def words() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="module")
def decoder() -> LlamaForCausalLM:
    return make_decoder(make_tokenizer())


@pytest.fixture
def trained(decoder: LlamaForCausalLM, words: WordEncoder) -> KnowledgeAdapter:
    return as_if_trained(make_adapter(decoder, words))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.0), (torch.bfloat16, 2.0**-8)])
def test_what_was_saved_comes_back(
    tmp_path: Path, decoder, trained, dtype: torch.dtype, tolerance: float
) -> None:
    folder = adapters.save_pretrained(
        trained, tmp_path / "new" / "folder", decoder, base_model="tiny", dtype=dtype
    )
    again = adapters.from_pretrained(folder, decoder)
    assert again.config == trained.config
    saved = trained.state_dict()
    assert again.state_dict().keys() == saved.keys()
    for name, tensor in again.state_dict().items():
        assert tensor.dtype == torch.float32
        # Single scalars, such as the pointer's bias, are kept whole.
        exact = tolerance == 0.0 or tensor.dim() == 0
        torch.testing.assert_close(tensor, saved[name], rtol=0.0 if exact else tolerance, atol=0.0)
    assert not any(p.requires_grad for p in again.parameters())
    assert not again.training


def test_answers_come_back_as_well(tmp_path: Path, decoder, trained, words) -> None:
    folder = adapters.save_pretrained(trained, tmp_path, decoder, base_model="tiny")
    before = logits_with_facts(decoder, trained, words)
    after = logits_with_facts(decoder, adapters.from_pretrained(folder, decoder), words)
    assert not torch.allclose(
        before, logits_with_facts(decoder, make_adapter(decoder, words), words)
    )
    torch.testing.assert_close(after, before, rtol=0.05, atol=0.02)


def test_an_adapter_from_before_answers_as_it_did(tmp_path: Path, decoder, words) -> None:
    """What it lacks does nothing; anything else that is missing is damage."""
    selection = make_adapter(decoder, words).config.selection
    assert selection is not None
    trained = as_if_trained(
        make_adapter(decoder, words, selection=dataclasses.replace(selection, matching=True))
    )
    adapters.save_pretrained(trained, tmp_path, decoder, base_model="tiny", dtype=torch.float32)
    weights = load_file(tmp_path / WEIGHTS)
    new = {"match.excess_inner", "match.excess_direct", "refusal.judged"}
    assert new <= weights.keys()
    save_file({n: w for n, w in weights.items() if n not in new}, tmp_path / WEIGHTS)
    again = adapters.from_pretrained(tmp_path, decoder)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, torch.zeros_like(tensor) if name in new else weights[name])
    save_file({n: w for n, w in weights.items() if n != "match.direct"}, tmp_path / WEIGHTS)
    with pytest.raises(AdapterError, match=r"match\.direct"):
        adapters.from_pretrained(tmp_path, decoder)


def test_the_files_follow_pefts_conventions(tmp_path: Path, decoder, trained) -> None:
    adapters.save_pretrained(trained, tmp_path, decoder, base_model="tiny")
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS]
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["peft_type"] == "KBLAM"
    assert config["base_model_name_or_path"] == "tiny"
    assert config["task_type"] == "CAUSAL_LM"


def test_low_rank_heads_are_saved_as_their_factors_alone(tmp_path: Path, decoder, words) -> None:
    trained = as_if_trained(make_adapter(decoder, words, query_head="lora", lora_rank=3))
    before = logits_with_facts(decoder, trained, words)
    untrained = logits_with_facts(decoder, make_adapter(decoder, words, query_head="lora"), words)
    assert not torch.allclose(before, untrained)
    folder = adapters.save_pretrained(
        trained, tmp_path, decoder, base_model="tiny", dtype=torch.float32
    )
    heads = {
        name.split(".query.")[1]: tuple(tensor.shape)
        for name, tensor in load_file(folder / WEIGHTS).items()
        if ".query." in name
    }
    hidden, width = 32, 32
    assert heads == {
        "lora_A.default.weight": (3, hidden),
        "lora_B.default.weight": (width, 3),
    }
    again = adapters.from_pretrained(folder, decoder)
    assert torch.equal(logits_with_facts(decoder, again, words), before)


def test_a_spare_block_of_published_adapters_comes_back(tmp_path: Path, decoder, words) -> None:
    """Keys that no layer reads take part in the LayerNorm over the whole row."""
    adapter = make_adapter(
        decoder, words, key_norm=True, selection=None, grounded=False, num_key_heads=4
    )
    adapter.spare_key = LinearAdapter(words.dimension, 4, 8, std=1.0)
    before = logits_with_facts(decoder, as_if_trained(adapter), words)
    folder = adapters.save_pretrained(
        adapter, tmp_path, decoder, base_model="tiny", dtype=torch.float32
    )
    assert torch.equal(
        logits_with_facts(decoder, adapters.from_pretrained(folder, decoder), words), before
    )


def test_another_base_model_is_refused(tmp_path: Path, decoder, trained) -> None:
    adapters.save_pretrained(trained, tmp_path, decoder, base_model="tiny")
    config = decoder.config.__class__(**{**decoder.config.to_dict(), "num_hidden_layers": 4})
    other = LlamaForCausalLM(config)
    with pytest.raises(AdapterMismatchError, match=r"'tiny'.*num_hidden_layers.*train"):
        adapters.from_pretrained(tmp_path, other)


@pytest.mark.parametrize(
    "encoder", [WordEncoder(name="other"), WordEncoder(dimension=7)], ids=["name", "dimension"]
)
def test_another_encoder_is_refused(tmp_path: Path, words, encoder: WordEncoder) -> None:
    folders = save_tiny(tmp_path, words)
    with pytest.raises(AdapterMismatchError, match=r"'words' of 48 dimensions, got"):
        KBLaM.from_pretrained(folders.base, adapter=folders.adapter, encoder=encoder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, decoder, words) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    return adapters.save_pretrained(
        make_adapter(decoder, words), folder, decoder, base_model="tiny"
    )


@pytest.fixture
def damaged(tmp_path: Path, saved: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "damaged"))


def test_a_missing_adapter_names_the_places(decoder) -> None:
    for name in ("no-such-adapter", "nobody/nothing"):
        with pytest.raises(AdapterError, match=r"the folder.*bundled.*hub.*kblam train"):
            adapters.from_pretrained(name, decoder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"knowledge": []}', '{"knowledge": 3}'])
def test_a_damaged_configuration_is_an_error(damaged: Path, decoder, content: str) -> None:
    (damaged / CONFIG).write_text(content)
    with pytest.raises(AdapterError, match="could not read it"):
        adapters.from_pretrained(damaged, decoder)


def test_a_newer_format_is_an_error(damaged: Path, decoder) -> None:
    data = json.loads((damaged / CONFIG).read_text())
    (damaged / CONFIG).write_text(json.dumps({**data, "format": 2}))
    with pytest.raises(AdapterError, match=r"format 1, got 2.*Update kblam"):
        adapters.from_pretrained(damaged, decoder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats(-2, 40) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=4,
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_a_configuration_says_it_loads_or_says_why(
    saved: Path, tmp_path: Path, decoder, data
) -> None:
    config = json.loads((saved / CONFIG).read_text())
    part = data.draw(st.sampled_from(["", "knowledge", "selection", "refusal"]))
    place = config if part == "" else config["knowledge"]
    place = place if part in ("", "knowledge") else place[part]
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(json_values)
    folder = tmp_path / "changed"
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(config))
    with contextlib.suppress(AdapterError):
        adapters.from_pretrained(folder, decoder)


def test_damaged_weights_are_an_error(damaged: Path, decoder) -> None:
    whole = (damaged / WEIGHTS).read_bytes()
    for content in (b"", b"no weights", whole[: len(whole) // 2]):
        (damaged / WEIGHTS).write_bytes(content)
        with pytest.raises(AdapterError, match="could not read them"):
            adapters.from_pretrained(damaged, decoder)
    (damaged / WEIGHTS).unlink()
    with pytest.raises(AdapterError, match="could not read them"):
        adapters.from_pretrained(damaged, decoder)


@pytest.mark.parametrize("change", ["missing", "more", "shape"])
def test_weights_that_do_not_fit_are_an_error(damaged: Path, decoder, change: str) -> None:
    tensors = load_file(damaged / WEIGHTS)
    if change == "missing":
        del tensors["selection.metric"]
    elif change == "more":
        tensors["selection.other"] = torch.zeros(2)
    else:
        tensors["selection.metric"] = torch.zeros(3, 3)
    save_file(tensors, damaged / WEIGHTS)
    with pytest.raises(AdapterError, match=r"do not fit their configuration.*selection"):
        adapters.from_pretrained(damaged, decoder)
