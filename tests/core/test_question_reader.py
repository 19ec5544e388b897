"""Adapters that read questions by layers of their own: on disk, attached, over any encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_kblam import make_adapter, make_decoder, make_tokenizer
from transformers import LlamaForCausalLM

from kblam import adapter as adapters
from kblam._engine import Engine, question_reader
from kblam.config import SelectionConfig
from kblam.decoder import KnowledgeAdapter
from kblam.encoding import LangChainEmbedder, SentenceEncoder
from kblam.errors import AdapterError
from kblam.training.reading import start_as

pytestmark = pytest.mark.weights

TEXTS = ["Who is the mother of?", "What does it cost to get in?"]


@pytest.fixture(scope="module")
def decoder() -> LlamaForCausalLM:
    return make_decoder(make_tokenizer())


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def make(decoder: LlamaForCausalLM, encoder: SentenceEncoder, layers: int) -> KnowledgeAdapter:
    selection = SelectionConfig(layer=1, top_k=4, pools=2, matching=True, reader_layers=layers)
    adapter = make_adapter(decoder, encoder, selection=selection)
    if adapter.reader is not None:
        start_as(adapter.reader, encoder)
        with torch.no_grad():
            for parameter in adapter.reader.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    return adapter.eval()


@pytest.fixture(scope="module")
def saved(
    decoder: LlamaForCausalLM, encoder: SentenceEncoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    return adapters.save_pretrained(make(decoder, encoder, 2), folder, decoder, base_model="tiny")


def engine_of(decoder: LlamaForCausalLM, adapter: Path | None, encoder: object) -> Engine:
    return Engine(decoder, make_tokenizer(), "tiny", adapter, encoder)  # type: ignore[arg-type]


def test_questions_are_read_as_the_saved_layers_read(decoder, encoder, saved: Path) -> None:
    engine = engine_of(decoder, saved, encoder)
    adapter = adapters.from_pretrained(saved, decoder)
    expected = question_reader(encoder, adapter).encode(TEXTS)
    np.testing.assert_array_equal(engine.reader.encode(TEXTS), expected)
    assert (expected * encoder.encode(TEXTS)).sum(1).max() < 0.99
    assert engine.reader is engine.reader


def test_without_layers_of_its_own_the_encoder_reads(decoder, encoder, tmp_path: Path) -> None:
    adapter = make(decoder, encoder, 0)
    folder = adapters.save_pretrained(adapter, tmp_path, decoder, base_model="tiny")
    assert engine_of(decoder, folder, encoder).reader is encoder
    assert engine_of(decoder, None, encoder).reader is encoder


def test_over_another_frameworks_encoder_the_layers_read_as_well(
    decoder, encoder, saved: Path
) -> None:
    class Embeddings:
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts).tolist()

    foreign = LangChainEmbedder(Embeddings(), encoder.name)
    engine = engine_of(decoder, saved, foreign)
    assert engine.encoder is foreign
    own = question_reader(encoder, adapters.from_pretrained(saved, decoder))
    np.testing.assert_array_equal(engine.reader.encode(TEXTS), own.encode(TEXTS))


def test_training_goes_on_from_an_adapter_without_such_layers(
    decoder, encoder, tmp_path: Path
) -> None:
    before = adapters.save_pretrained(
        make(decoder, encoder, 0), tmp_path, decoder, base_model="tiny"
    )
    adapter = make(decoder, encoder, 2)
    kept = {name: value.clone() for name, value in adapter.reader.state_dict().items()}
    adapters.start_from(adapter, [before], decoder)
    for name, value in adapter.reader.state_dict().items():
        assert torch.equal(value, kept[name])


def test_an_adapter_with_such_layers_starts_none_without(decoder, encoder, saved: Path) -> None:
    with pytest.raises(AdapterError, match="same shape"):
        adapters.start_from(make(decoder, encoder, 0), [saved], decoder)
