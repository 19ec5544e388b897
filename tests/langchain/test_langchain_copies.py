"""Copies and pickles: settings of their own, the same weights and facts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from langchain_core.output_parsers import StrOutputParser
from tiny_kblam import FACTS, make_decoder, make_tokenizer

from kblam.errors import ConfigError, StoreError
from kblam.knowledge import KnowledgeStore
from kblam_integrations.langchain import KBLaMChat, KBLaMRetriever

QUESTION = "What is the office of Project Heron?"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "facts.db"
    KnowledgeStore.from_source(FACTS, path).close()
    return path


@pytest.mark.parametrize("library", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_a_pickle_opens_the_same_file(
    make: Callable[..., KBLaMChat], path: Path, library: Any
) -> None:
    chat = make(kb=str(path), max_tokens=16, view={"entity": "Project Heron"}, tags=["x"])
    assert chat.invoke(QUESTION).content == "Ljubljana"
    again = pickle.loads(library.dumps(chat))
    assert again.kb is not chat.kb
    chat.kb.upsert([("Project Heron", "office", "Porto")])
    reply = again.invoke(QUESTION)
    assert reply.content == "Porto"
    assert again.kb.fingerprint == chat.kb.fingerprint
    assert "QX" not in again.invoke("What is the launch code of Aurora?").content
    assert (again.max_tokens, again.tags) == (16, ["x"])
    assert "".join(piece.content for piece in again.stream(QUESTION)) == "Porto"


def test_chains_and_retrievers_too(make: Callable[..., KBLaMChat], path: Path) -> None:
    chat = make(kb=str(path), max_tokens=16)
    chain = chat.bind(stop=["j"]) | StrOutputParser()
    assert pickle.loads(cloudpickle.dumps(chain)).invoke(QUESTION) == "L"
    retriever = pickle.loads(pickle.dumps(chat.as_retriever(k=1)))
    assert isinstance(retriever, KBLaMRetriever)
    assert [d.metadata["value"] for d in retriever.invoke(QUESTION)] == ["Ljubljana"]


@pytest.mark.weights
def test_a_pickle_finds_the_default_weights(path: Path) -> None:
    chat = KBLaMChat(kb=str(path))
    data = pickle.dumps(chat)
    assert len(data) < 2_000
    assert pickle.loads(data).kblam.base is chat.kblam.base


def test_what_is_only_in_memory_cannot_be_pickled(make: Callable[..., KBLaMChat]) -> None:
    with pytest.raises(StoreError, match="Keep it in a file"):
        pickle.dumps(make(kb=FACTS))
    tokenizer = make_tokenizer()
    loaded = KBLaMChat(model=make_decoder(tokenizer), tokenizer=tokenizer, adapter=None)
    with pytest.raises(ConfigError, match="folder"):
        pickle.dumps(loaded)


def test_a_deep_copy_shares_weights_and_facts(make: Callable[..., KBLaMChat]) -> None:
    chat = make(kb=FACTS, max_tokens=16, stop=["!"], metadata={"a": {"b": 1}})
    chat.invoke(QUESTION)
    other = copy.deepcopy(chat)
    assert other.kblam is chat.kblam
    assert other.kb is chat.kb
    other.stop.append("j")
    other.metadata["a"]["b"] = 2
    assert other.invoke(QUESTION).content == "L"
    assert chat.invoke(QUESTION).content == "Ljubljana"
    assert chat.metadata == {"a": {"b": 1}}


def test_a_copy_with_changes_is_made_anew(make: Callable[..., KBLaMChat]) -> None:
    chat = make(kb=FACTS, max_tokens=16)
    sure = chat.model_copy(update={"refusal_threshold": 0.0, "refusal": "No."})
    assert sure.invoke(QUESTION).content == "No."
    assert sure.kblam.base is chat.kblam.base
    assert chat.invoke(QUESTION).content == "Ljubljana"
    assert chat.model_copy().kblam is chat.kblam
    with pytest.raises(ConfigError, match="temperature"):
        chat.model_copy(update={"temperature": -1.0})


def test_what_it_was_made_with_is_not_changed_in_place(make: Callable[..., KBLaMChat]) -> None:
    chat = make(kb=FACTS, max_tokens=16)
    for model in (chat, chat.as_retriever()):
        with pytest.raises(ConfigError, match=r"kb to stay .* model_copy"):
            model.kb = [("Project Heron", "office", "Porto")]
    with pytest.raises(ConfigError, match="refusal_threshold to stay"):
        chat.refusal_threshold = 0.0
    chat.stop = ["j"]  # what calls read is a setting as any other
    assert chat.invoke(QUESTION).content == "L"
