"""Facts in LlamaIndex's own stores, and a model small enough to say nothing sensible fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from llama_index.core import KnowledgeGraphIndex, PropertyGraphIndex, StorageContext
from llama_index.core.callbacks import CallbackManager
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.graph_stores import SimpleGraphStore, SimplePropertyGraphStore
from llama_index.core.instrumentation import get_dispatcher
from llama_support import Recorder, add_to
from transformers import LlamaConfig, LlamaForCausalLM

from kblam._loading import load_tokenizer
from kblam.adapter import save_pretrained
from kblam.config import KnowledgeConfig, SelectionConfig
from kblam.decoder import KnowledgeAdapter, attention_layout
from kblam.weights import DEFAULT_BASE
from kblam_integrations.llama_index import KBLaMLLM

FACTS = [
    ("Monell Chemical Senses Center", "director", "Benjamin Smith"),
    ("Monell Chemical Senses Center", "headquarters", "Philadelphia"),
    ("Ada Lovelace", "birthplace", "London"),
    ("Aurora", "launch code", "QX-7719"),
    ("Project Heron", "budget", "48200 euros"),
]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A random decoder with SmolLM2's tokenizer, and an untrained adapter that never refuses."""
    tokenizer = load_tokenizer(DEFAULT_BASE)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config).eval()
    knowledge = KnowledgeConfig(
        encoder="all-MiniLM-L6-v2",
        encoder_dimension=384,
        knowledge_layers=(1, 2),
        hidden_size=32,
        num_heads=4,
        num_key_heads=2,
        head_dim=8,
        selection=SelectionConfig(layer=1, top_k=4),
    )
    folder = tmp_path_factory.mktemp("weights")
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    adapter = KnowledgeAdapter(knowledge, attention_layout(model))
    save_pretrained(adapter, folder / "adapter", model, base_model=str(folder / "base"))
    names = {"model": str(folder / "base"), "adapter": str(folder / "adapter")}
    held = KBLaMLLM(**names)  # weights in use are shared: every test's model is cheap
    yield names
    del held


@pytest.fixture
def llm(weights: dict[str, str]) -> KBLaMLLM:
    """The small model over the facts."""
    return KBLaMLLM(FACTS, **weights, max_new_tokens=8)


@pytest.fixture
def graph() -> SimpleGraphStore:
    store = SimpleGraphStore()
    for fact in FACTS:
        store.upsert_triplet(*fact)
    return store


@pytest.fixture
def kg_index(graph: SimpleGraphStore, llm: KBLaMLLM) -> KnowledgeGraphIndex:
    with pytest.warns(DeprecationWarning, match="KnowledgeGraphIndex"):
        return KnowledgeGraphIndex(
            nodes=[],
            storage_context=StorageContext.from_defaults(graph_store=graph),
            llm=llm,
            embed_model=MockEmbedding(embed_dim=4),
            callback_manager=CallbackManager([]),
        )


@pytest.fixture
def property_graph() -> SimplePropertyGraphStore:
    store = SimplePropertyGraphStore()
    add_to(store, FACTS)
    return store


@pytest.fixture
def property_index(property_graph: SimplePropertyGraphStore, llm: KBLaMLLM) -> PropertyGraphIndex:
    return PropertyGraphIndex.from_existing(property_graph, llm=llm, embed_kg_nodes=False)


@pytest.fixture
def events() -> Iterator[Recorder]:
    recorder, dispatcher = Recorder(seen=[]), get_dispatcher()
    dispatcher.add_event_handler(recorder)
    yield recorder
    dispatcher.event_handlers.remove(recorder)
