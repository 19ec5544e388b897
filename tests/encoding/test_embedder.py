"""Sentence encoders of every kind: unit rows, in order, each text once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from llama_index.core.base.embeddings.base import BaseEmbedding

from kblam.encoding import (
    LangChainEmbedder,
    LinearAdapter,
    LlamaIndexEmbedder,
    SentenceEncoder,
    as_embedder,
)
from kblam.errors import ConfigError, WeightsNotFoundError
from kblam.knowledge import TextEmbedder

TEXTS = ["the budget of Borealis", "Ljubljana", "", "the budget of Borealis", "a much longer " * 9]


class Letters(Embeddings):
    """Counts letters, of any length; not normalised."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(list(texts))
        return [[1.0 + text.count(letter) for letter in "aeiou"] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    @property
    def given(self) -> list[str]:
        return [text for batch in self.batches for text in batch]


class LetterModel(BaseEmbedding):
    """The same for LlamaIndex."""

    model_name: str = "letters"

    def _get_text_embedding(self, text: str) -> list[float]:
        return Letters().embed_query(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return [0.0] * 5

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return [0.0] * 5


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def counted(letters: Letters) -> LangChainEmbedder:
    embedder = LangChainEmbedder(letters, "letters", batch_size=3, cache_size=4)
    letters.batches.clear()
    return embedder


def _expected(texts: list[str]) -> np.ndarray:
    rows = np.array(Letters().embed_documents(texts), dtype=np.float32).reshape(len(texts), 5)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="aeix ", max_size=8), max_size=12), st.integers(1, 5))
def test_rows_are_the_texts_in_order_and_of_unit_length(texts: list[str], size: int) -> None:
    embedder = LangChainEmbedder(Letters(), "letters", batch_size=size, cache_size=3)
    for _ in range(2):  # computed, and in part from the cache
        rows = embedder.encode(texts)
        assert rows.shape == (len(texts), 5)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, _expected(texts), rtol=1e-6)


def test_equal_texts_are_embedded_once(counted: LangChainEmbedder, letters: Letters) -> None:
    counted.encode(["ab", "ab", "c", "ab"])
    assert sorted(letters.given) == ["ab", "c"]
    counted.encode(["c", "d", "ab"])
    assert sorted(letters.given) == ["ab", "c", "d"]


def test_the_oldest_texts_leave_a_full_cache(counted: LangChainEmbedder, letters: Letters) -> None:
    counted.encode(["a", "b", "c", "d"])
    counted.encode(["e"])
    letters.batches.clear()
    counted.encode(["b", "c", "d", "e"])
    assert len(letters.given) <= 1
    # More texts than the cache holds are all embedded, and only some kept.
    many = [f"text {n}" for n in range(10)]
    np.testing.assert_allclose(counted.encode(many), _expected(many), rtol=1e-6)
    assert len(counted._cache) == 4


def test_batches_are_of_like_lengths_longest_first(
    counted: LangChainEmbedder, letters: Letters
) -> None:
    counted.encode(["a" * n for n in (5, 1, 9, 3, 7)])
    assert [[len(text) for text in batch] for batch in letters.batches] == [[9, 7, 5], [3, 1]]


@pytest.mark.parametrize("texts", ["a single text", [1, 2], [None]])
def test_anything_but_texts_is_an_error(counted: LangChainEmbedder, texts) -> None:
    with pytest.raises(ConfigError, match="sequence of texts"):
        counted.encode(texts)


def test_a_text_of_zeros_has_no_direction() -> None:
    class Nothing(Letters):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[0.0, 0.0] for _ in texts]

    rows = LangChainEmbedder(Nothing(), "nothing").encode(["a"])
    assert rows.tolist() == [[0.0, 0.0]]


def test_llama_indexs_embeddings_are_wrapped() -> None:
    embedder = LlamaIndexEmbedder(LetterModel(), "letters")
    assert (embedder.name, embedder.dimension) == ("letters", 5)
    np.testing.assert_allclose(embedder.encode(TEXTS), _expected(TEXTS), rtol=1e-6)


class TestAsEmbedder:
    def test_embedders_are_taken_as_they_are(self, counted: LangChainEmbedder) -> None:
        assert as_embedder(counted) is counted
        assert isinstance(counted, TextEmbedder)

    def test_other_frameworks_objects_are_wrapped(self, letters: Letters) -> None:
        wrapped = as_embedder(LetterModel())
        assert isinstance(wrapped, LlamaIndexEmbedder)
        assert wrapped.name == "letters"
        named = Letters()
        named.model = "vowels-5"
        assert as_embedder(named).name == "vowels-5"
        # Without a name of its own it has one all the same, and always the same.
        assert isinstance(as_embedder(letters), LangChainEmbedder)
        assert as_embedder(letters).name == as_embedder(Letters()).name != ""

    @pytest.mark.parametrize("thing", [5, object(), ["all-MiniLM-L6-v2"], torch.nn.Linear(2, 2)])
    def test_anything_else_is_an_error(self, thing) -> None:
        with pytest.raises(ConfigError, match=f"TextEmbedder.*{type(thing).__qualname__}"):
            as_embedder(thing)

    def test_an_unknown_name_is_an_error(self) -> None:
        with pytest.raises(WeightsNotFoundError, match="no-such-encoder"):
            as_embedder("no-such-encoder")


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    return SentenceEncoder(batch_size=4)


@pytest.mark.weights
class TestMiniLM:
    def test_it_tells_its_name_and_dimension(self, encoder: SentenceEncoder) -> None:
        assert (encoder.name, encoder.dimension) == ("all-MiniLM-L6-v2", 384)

    def test_rows_do_not_depend_on_their_neighbours(self, encoder: SentenceEncoder) -> None:
        rows = encoder.encode(TEXTS)
        assert rows.shape == (len(TEXTS), 384)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
        assert np.array_equal(rows[0], rows[3])
        encoder._cache.clear()
        for text, row in zip(TEXTS, rows, strict=True):
            # Padding to a longer neighbour costs no more than rounding.
            np.testing.assert_allclose(encoder.encode([text])[0], row, atol=1e-5)

    def test_a_question_is_nearest_to_its_fact(self, encoder: SentenceEncoder) -> None:
        keys = encoder.encode(
            ["the capital of France", "the capital of Peru", "the author of Middlemarch"]
        )
        asked = encoder.encode(["Who wrote Middlemarch?", "What is the capital of Peru?"])
        assert (asked @ keys.T).argmax(1).tolist() == [2, 1]

    def test_a_folder_is_named_after_its_last_part(self, encoder: SentenceEncoder) -> None:
        from kblam.weights import resolve_encoder

        folder = resolve_encoder().path
        assert as_embedder(f"{folder}/").name == folder.rsplit("/", 1)[-1]


def test_a_linear_adapter_makes_tokens_by_head() -> None:
    torch.manual_seed(0)
    adapter = LinearAdapter(dimension=6, num_heads=2, head_dim=3, std=1.0)
    with torch.no_grad():
        adapter.bias.normal_()
    encoded = torch.randn(4, 5, 6)
    tokens = adapter(encoded)
    assert tokens.shape == (4, 2, 5, 3)
    weight, bias = adapter.per_head(torch.float32)
    for head in range(2):
        expected = encoded @ weight[head].T + bias[head]
        torch.testing.assert_close(tokens[:, head], expected)
    assert adapter(encoded.to(torch.bfloat16)).dtype == torch.bfloat16
