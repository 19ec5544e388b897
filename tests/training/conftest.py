"""A tiny decoder to train on, and a small made-up world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_kblam import WordEncoder, make_decoder, make_tokenizer

from kblam._engine import Engine
from kblam.knowledge import Triple
from kblam.training.corpus import Corpus
from kblam.training.data import TrainingQuestion

PROPERTIES = ("budget", "office", "project lead", "start date")


@pytest.fixture(scope="session")
def engine() -> Engine:
    tokenizer = make_tokenizer()
    return Engine(make_decoder(tokenizer, context=1024), tokenizer, "tiny", None, WordEncoder())


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """Ten entities of four facts, one question about each fact and ten that none answers."""
    facts = tuple(
        Triple(f"Project {letter}", name, f"{letter}-{name[:3]}-{place}")
        for letter in "ABCDEFGHIJ"
        for place, name in enumerate(PROPERTIES)
    )
    questions = [
        TrainingQuestion(
            question=f"What is the {fact.property} of {fact.entity}?",
            gold=(index,),
            answer=(f"The {fact.property} of {fact.entity} is ", index, "."),
            kind="single",
            near=tuple(i for i, other in enumerate(facts) if other.entity == fact.entity),
        )
        for index, fact in enumerate(facts)
    ]
    questions += [
        TrainingQuestion(
            question=f"What is the sponsor of Project {letter}?",
            gold=(),
            answer=(),
            kind="unanswerable",
            near=tuple(range(4 * place, 4 * place + 4)),
        )
        for place, letter in enumerate("ABCDEFGHIJ")
    ]
    encoder = WordEncoder()

    def embed(texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(encoder.encode(texts))

    return Corpus(
        facts=facts,
        questions=tuple(questions),
        keys=embed([fact.key_text for fact in facts]),
        values=embed([fact.value_text for fact in facts]),
        asked=embed([question.question for question in questions]),
        context=torch.zeros(len(questions), encoder.dimension),
        entity_of=torch.from_numpy(np.arange(len(facts)) // len(PROPERTIES)),
        verbs=torch.tensor([fact.verb_text is not None for fact in facts]),
    )


@pytest.fixture(scope="session")
def sentence_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random sentence-transformers model of 16 dimensions, in a folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    letters = [chr(code) for code in range(33, 127)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    bert = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    bert.save_pretrained(folder / "bert")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    parts = [Transformer(str(folder / "bert"), max_seq_length=64), Pooling(16)]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder / "letters-16"))
    return folder / "letters-16"
