"""The shipped adapter on its real base: every quick way gives what the plain one gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from kblam._prompt import as_messages, tokenize
from kblam.config import GenerationOptions
from kblam.decoder import FactInput, interface
from kblam.knowledge import KnowledgeStore
from kblam.model import KBLaM

pytestmark = pytest.mark.weights

CITIES = ("Aurora", "Borealis", "Corvid", "Dunlin", "Egret", "Falcon", "Gannet", "Heron")
KINDS = ("budget", "project lead", "start date", "office", "launch code")
FACTS = [
    (f"project {city} {number}", kind, f"{kind[:3]}-{number * 37 % 1009} {city[::-1]}")
    for number in range(25)
    for city in CITIES
    for kind in KINDS
]
QUESTION = "What is the launch code of project Heron 17?"


@pytest.fixture(scope="module")
def model() -> KBLaM:
    return KBLaM.from_pretrained()


@pytest.fixture(scope="module")
def store(model: KBLaM) -> Iterator[KnowledgeStore]:
    with KnowledgeStore.from_source(FACTS) as store:
        assert len(store) == 1000
        store.encode(model.encoder)
        yield store


def _logits(model: KBLaM, store: KnowledgeStore, text: str, form: str) -> tuple[Tensor, Tensor]:
    """Logits of a prompt over all facts, (T, V), and the facts it selected, (k,)."""
    vectors = store.vectors(model.encoder.name)
    facts = FactInput(
        torch.from_numpy(vectors.keys.copy()),
        torch.from_numpy(vectors.values.copy()),
        encoder_query=torch.from_numpy(model.encoder.encode([text])),
    )
    ids = torch.tensor([tokenize(model.tokenizer, as_messages(text))])
    decoder = model._engine.decoder
    with torch.no_grad(), decoder.facts(facts, form=form) as session:  # type: ignore[arg-type]
        logits = model.base(ids).logits[0]
        assert session.selection is not None
        return logits, session.selection.index[0]


@pytest.mark.parametrize("words", [0, 150])
def test_logits_are_those_of_the_plain_form(
    model: KBLaM, store: KnowledgeStore, words: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = QUESTION + " Think about it." * (words // 3)
    quick, chosen = _logits(model, store, text, "auto")
    in_encoder_space, _ = _logits(model, store, text, "absorbed")
    # The plain form: every score written down, the parts merged, nothing fused.
    monkeypatch.setattr(interface, "_WRITTEN_UP_TO", 10_000)
    plain, expected = _logits(model, store, text, "materialised")
    assert torch.equal(chosen, expected)
    assert (quick - plain).abs().max() < 1e-3
    assert (in_encoder_space - plain).abs().max() < 1e-3


def test_answers_and_citations_are_those_of_an_exact_scan(
    model: KBLaM, store: KnowledgeStore
) -> None:
    short = GenerationOptions(max_new_tokens=24)
    quick = model.with_options().attach(store).ask(QUESTION, short)
    exact = model.with_options().attach(store, exact=True).ask(QUESTION, short)
    value = next(value for e, p, value in FACTS if (e, p) == ("project Heron 17", "launch code"))
    assert value in quick.text
    assert quick.text == exact.text
    assert [c.fact for c in quick.citations] == [c.fact for c in exact.citations]
    assert [f.fact for f in quick.facts] == [f.fact for f in exact.facts]
