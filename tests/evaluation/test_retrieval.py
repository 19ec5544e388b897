from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from kblam.encoding import SentenceEncoder
from kblam.evaluation import RetrievalText, build_task, load_facts, load_questions
from kblam.evaluation.retrieval import BM25Retriever, DenseRetriever, Retriever
from kblam.knowledge import Triple

DATA = Path(__file__).parents[1] / "data" / "evaluation"
TASK = build_task(load_facts(DATA / "facts.jsonl"), load_questions(DATA / "questions.jsonl"))


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder()


def recall(retriever: Retriever, k: int) -> float:
    pairs = [(q, gold) for q, gold in zip(TASK.questions, TASK.gold, strict=True) if gold]
    return float(np.mean([bool(set(retriever.search(q.text, k)) & set(g)) for q, g in pairs]))


@pytest.mark.weights
@pytest.mark.parametrize("text", get_args(RetrievalText))
def test_dense_retrieval_finds_the_gold_facts(
    encoder: SentenceEncoder, text: RetrievalText
) -> None:
    retriever = DenseRetriever(TASK.facts, encoder, text=text)
    assert recall(retriever, 1) >= 0.9
    assert recall(retriever, 5) == 1.0


@pytest.mark.parametrize("text", get_args(RetrievalText))
def test_bm25_finds_the_gold_facts(text: RetrievalText) -> None:
    retriever = BM25Retriever(TASK.facts, text=text)
    assert recall(retriever, 5) >= 0.9


@pytest.mark.weights
def test_dense_results_are_sorted_by_cosine(encoder: SentenceEncoder) -> None:
    retriever = DenseRetriever(TASK.facts, encoder, text="statement")
    asked = "Who wrote Moby-Dick?"
    everything = retriever.search(asked, len(TASK.facts))
    scores = encoder.encode([f.statement for f in everything]) @ encoder.encode([asked])[0]
    assert list(scores) == sorted(scores, reverse=True)
    assert retriever.search(asked, 7) == everything[:7]


@pytest.mark.weights
def test_more_are_asked_for_than_there_are(encoder: SentenceEncoder) -> None:
    two = [Triple("Iron", "symbol", "Fe"), Triple("Gold", "symbol", "Au")]
    for retriever in (DenseRetriever(two, encoder), BM25Retriever(two)):
        assert set(retriever.search("the symbol of gold", 9)) == set(two)


def test_bm25_answers_a_question_without_a_known_word() -> None:
    assert len(BM25Retriever(TASK.facts).search("zzz qqq", 3)) == 3


def test_bm25_finds_nothing_where_no_word_counts() -> None:
    assert BM25Retriever([Triple("the", "of", "is")]).search("Who is it?", 3) == []
    assert BM25Retriever([]).search("Who is it?", 3) == []
