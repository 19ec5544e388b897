"""A chat model over a few private facts, loaded once per worker, and tiny ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_kblam

from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM
from kblam_integrations.langchain import KBLaMChat

FACTS = [
    ("Monell Chemical Senses Center", "director", "Benjamin Smith"),
    ("Monell Chemical Senses Center", "headquarters", "Philadelphia"),
    ("Monell Chemical Senses Center", "founding year", "1968"),
    ("Ada Lovelace", "birthplace", "London"),
    ("Aurora", "launch code", "QX-7719"),
    ("Project Heron", "budget", "48200 euros"),
]


@pytest.fixture
def store() -> Iterator[KnowledgeStore]:
    """The facts, for tests that may change them."""
    with KnowledgeStore.from_source(FACTS) as store:
        yield store


@pytest.fixture(scope="session")
def encoder() -> tiny_kblam.WordEncoder:
    return tiny_kblam.WordEncoder()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, encoder: tiny_kblam.WordEncoder) -> Path:
    """A tiny model whose answer is the value of the fact asked for."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_kblam.save_tiny(folder, encoder, copies="after a colon", context=1024)
    return folder


@pytest.fixture
def tiny(folder: Path, encoder: tiny_kblam.WordEncoder) -> dict[str, Any]:
    """The settings of that model."""
    return {
        "model": str(folder / "base"),
        "adapter": str(folder / "adapter"),
        "encoder": encoder,
    }


@pytest.fixture
def make(tiny: dict[str, Any]) -> Callable[..., KBLaMChat]:
    def make(**settings: Any) -> KBLaMChat:
        return KBLaMChat(**{**tiny, **settings})

    return make


@pytest.fixture
def chat(store: KnowledgeStore) -> KBLaMChat:
    return KBLaMChat(kb=store, max_tokens=16)


@pytest.fixture
def bare() -> KBLaMChat:
    """No facts, hence the base model, which talks on for as long as it may."""
    return KBLaMChat(max_tokens=12)


class Calls:
    """How often and how the model was called; the calls themselves go through."""

    def __init__(self) -> None:
        self.batches: list[int] = []  # how many prompts in each ask_batch
        self.single = 0  # ask and stream
        self.steps = 0  # of generation: forward passes of the base model

    @property
    def total(self) -> int:
        return self.single + len(self.batches)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, default_model: KBLaM) -> Iterator[Calls]:
    """Counts the calls of the models underneath."""
    calls = Calls()
    ask, ask_batch, stream = KBLaM.ask, KBLaM.ask_batch, KBLaM.stream

    def counted_ask(self, *args, **kwargs):
        calls.single += 1
        return ask(self, *args, **kwargs)

    def counted_batch(self, prompts, *args, **kwargs):
        calls.batches.append(len(prompts))
        return ask_batch(self, prompts, *args, **kwargs)

    def counted_stream(self, *args, **kwargs):
        calls.single += 1
        return stream(self, *args, **kwargs)

    def count_step(*_):
        calls.steps += 1

    monkeypatch.setattr(KBLaM, "ask", counted_ask)
    monkeypatch.setattr(KBLaM, "ask_batch", counted_batch)
    monkeypatch.setattr(KBLaM, "stream", counted_stream)
    hook = default_model.base.register_forward_pre_hook(count_step)
    yield calls
    hook.remove()
