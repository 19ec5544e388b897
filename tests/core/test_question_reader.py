"""Adapters that read questions by layers of their own: on disk, attached, over any encoder."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from tiny_kblam import make_adapter, make_decoder, make_tokenizer
from torch import Tensor
from transformers import LlamaForCausalLM

from kblam import GenerationOptions, KBLaM, KnowledgeStore
from kblam import adapter as adapters
from kblam._engine import Engine, question_reader
from kblam.config import SelectionConfig
from kblam.decoder import KnowledgeAdapter
from kblam.decoder.selection_heads import MatchHead
from kblam.encoding import Evidence, LangChainEmbedder, SentenceEncoder
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


def make(
    decoder: LlamaForCausalLM, encoder: SentenceEncoder, layers: int, *, reads: bool = False
) -> KnowledgeAdapter:
    selection = SelectionConfig(
        layer=1, top_k=4, pools=2, matching=True, reader_layers=layers, reads_properties=reads
    )
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


@pytest.mark.parametrize("reads", [True, False])
def test_properties_are_read_by_what_they_were_trained_with(
    encoder, tmp_path: Path, reads: bool
) -> None:
    tokenizer = make_tokenizer()
    decoder = make_decoder(tokenizer)
    adapter = make(decoder, encoder, 2, reads=reads)
    folder = adapters.save_pretrained(adapter, tmp_path, decoder, base_model="tiny")
    model = KBLaM.from_pretrained(decoder, adapter=folder, encoder=encoder, tokenizer=tokenizer)
    read: list[tuple[str, np.ndarray]] = []
    judge = MatchHead.forward

    def seen(self: MatchHead, evidence: Evidence, *parts: Tensor) -> Tensor:
        read.extend([("question", evidence.question[0]), ("property", evidence.properties[0, 0])])
        return judge(self, evidence, *parts)

    with KnowledgeStore.from_source([("Ann Lee", "mother", "Eva Lee")]) as store:
        attached = model.attach(store)
        with patch.object(MatchHead, "forward", seen):
            attached.ask("Who is the mother of Ann Lee?", GenerationOptions(max_new_tokens=1))
    trained = question_reader(encoder, adapters.from_pretrained(folder, decoder))
    expected = {"question": trained.encode(["Who is the mother of?"])[0]}
    expected["property"] = (trained if reads else encoder).encode(["mother"])[0]
    assert trained.encode(["mother"])[0] @ encoder.encode(["mother"])[0] < 0.99
    assert {kind for kind, _ in read} == {"question", "property"}
    for kind, vector in read:
        assert vector.numpy() @ expected[kind] > 0.999


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


def test_more_layers_start_with_the_encoders_below_the_trained_ones(
    decoder, encoder, saved: Path
) -> None:
    trained = adapters.from_pretrained(saved, decoder).reader
    adapter = make(decoder, encoder, 3)
    first = {name: value.clone() for name, value in adapter.reader.layers[0].state_dict().items()}
    adapters.start_from(adapter, [saved], decoder)
    for name, value in adapter.reader.layers[0].state_dict().items():
        assert torch.equal(value, first[name])
    for place in (0, 1):
        for name, value in adapter.reader.layers[place + 1].state_dict().items():
            assert torch.equal(value, trained.layers[place].state_dict()[name])


def test_fewer_layers_start_from_none_with_more(decoder, encoder, saved: Path) -> None:
    with pytest.raises(AdapterError, match="same shape"):
        adapters.start_from(make(decoder, encoder, 1), [saved], decoder)


def test_an_adapter_with_such_layers_starts_none_without(decoder, encoder, saved: Path) -> None:
    with pytest.raises(AdapterError, match="same shape"):
        adapters.start_from(make(decoder, encoder, 0), [saved], decoder)
