"""A store as the decoder reads it: tensors, kept in step with the store."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kblam.decoder import Candidates
from kblam.index import FactIndex, IndexKeeper
from kblam.knowledge import Fact, FactVectors, KnowledgeStore, Snapshot, TextEmbedder, View

__all__ = ["EncodedFacts", "KnowledgeBase"]

_MAX_VIEWS = 8
# Questions made up to fit an index to what will be asked.
_SAMPLES = 128
# Fewer facts are scanned as quickly as an index is asked.
_INDEX_FROM = 200_000
# Where an index finds more than this share of all facts for a batch, scanning them is as quick.
_WORTHWHILE = 1 / 8
# Readings of a store that somebody writes to, for texts and vectors of the same state.
_TRIES = 16


@dataclass(frozen=True)
class EncodedFacts:
    """The facts of one view of a store at one moment.

    Attributes:
        vectors: As the store keeps them.
        keys: (M, E), float16. On a CPU the very memory of ``vectors``, not to be written to.
        values: (M, E), as the keys.
        texts: The facts themselves at that moment, for as long as they are read.
    """

    vectors: FactVectors
    keys: Tensor
    values: Tensor
    texts: Snapshot | None = None

    @property
    def fingerprint(self) -> str:
        """The state of the store that these are."""
        return self.vectors.fingerprint

    def __len__(self) -> int:
        return len(self.vectors.fact_ids)

    def facts(self, places: Sequence[int]) -> list[Fact | None]:
        """The facts at these places, as they were at that moment."""
        ids = self.vectors.fact_ids
        return [] if self.texts is None else self.texts.get_many(ids[place] for place in places)


class KnowledgeBase:
    """Keeps the encoded facts of a store in memory, by view.

    Models on different weights, which do not wait for each other's lock, may share one.

    Args:
        store: The facts.
        encoder: Embeds what the store has no vectors for.
        device: Where the tensors go.
        as_queries: Makes of questions what the facts would be searched for with, (N, E); None is
            their embeddings.
        asker: Tells whose queries those are.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        encoder: TextEmbedder,
        device: torch.device,
        as_queries: Callable[[Sequence[str]], npt.NDArray[np.float32]] | None = None,
        asker: Callable[[], str] = str,
    ) -> None:
        self.store = store
        self._encoder = encoder
        self._device = device
        self._as_queries = as_queries or encoder.encode
        self._facts: dict[View | None, EncodedFacts] = {}
        self._lock = threading.Lock()
        self._index = IndexKeeper(
            store,
            at_least=_INDEX_FROM,
            sample_queries=self._sample_questions,
            fitted_to=asker,
        )

    def read(self, view: View | None = None) -> EncodedFacts:
        """The facts as they are now; only what changed since the last call is embedded."""
        with self._lock:
            return self._read(view)

    @contextmanager
    def reading(self, view: View | None = None) -> Iterator[EncodedFacts]:
        """Lend the facts as they are now, with their texts, whatever is written meanwhile."""
        for last in (*[False] * (_TRIES - 1), True):
            encoded = self.read(view)
            with self.store.snapshot() as texts:
                # Under a writer that never rests, the few texts that it just changed are newer.
                if texts.fingerprint == encoded.fingerprint or last:
                    yield replace(encoded, texts=texts)
                    return

    def _read(self, view: View | None) -> EncodedFacts:
        self.store.catch_up()
        held = self._facts.get(view)
        current = held is not None and held.fingerprint == self.store.fingerprint
        # Another process may have added a fact between the embedding and the reading.
        if held is not None and current and not held.vectors.pending:
            return held
        self.store.encode(self._encoder)
        previous = held.vectors if held is not None else None
        vectors = self.store.vectors(self._encoder.name, view, previous)
        if held is None or held.vectors is not vectors:
            held = EncodedFacts(vectors, self._tensor(vectors.keys), self._tensor(vectors.values))
        self._facts.pop(view, None)
        self._facts[view] = held
        while len(self._facts) > _MAX_VIEWS:
            self._facts.pop(next(iter(self._facts)))
        return held

    def _tensor(self, array: npt.NDArray[np.float16]) -> Tensor:
        with warnings.catch_warnings():
            # A tensor cannot be read-only as the store's arrays are; nothing writes to this one.
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.from_numpy(array).to(self._device)

    def index(self, encoded: EncodedFacts) -> FactIndex | None:
        """The index of these facts; None while there is none, and where they are few."""
        return self._index.of(encoded.vectors)

    def candidates(self, encoded: EncodedFacts) -> Candidates | None:
        """What :attr:`kblam.decoder.FactInput.candidates` is for these facts, if they are many."""
        index = self.index(encoded)
        if index is None:
            return None

        def candidates(query: Tensor) -> tuple[Tensor, Tensor] | None:
            if query.shape[0] * index.width > _WORTHWHILE * len(encoded):
                return None
            found = index.candidates(query.detach().float().cpu().numpy())
            width = max(map(len, found))
            places = np.zeros((len(found), width), np.int64)
            seen = np.zeros((len(found), width), np.bool_)
            for row, positions in enumerate(found):
                places[row, : len(positions)] = positions
                seen[row, : len(positions)] = True
            return torch.from_numpy(places).to(query.device), torch.from_numpy(seen).to(
                query.device
            )

        return candidates

    def wait_for_index(self, timeout: float | None = None) -> bool:
        """Wait until no index is being built; tell whether that is so."""
        return self._index.wait(timeout)

    def _sample_questions(self, vectors: FactVectors) -> npt.NDArray[np.float32]:
        """Make queries of questions for some of the facts: they lie elsewhere than the keys."""
        rng = np.random.default_rng(0)
        count = min(_SAMPLES, len(vectors))
        chosen = rng.choice(len(vectors), count, replace=False)
        facts = self.facts([vectors.fact_ids[int(place)] for place in chosen])
        texts = [f"What is {fact.key_text}?" for fact in facts if fact is not None]
        return np.asarray(self._as_queries(texts), np.float32)

    def facts(self, ids: Sequence[str]) -> list[Fact | None]:
        """The facts behind ids; None where one was removed in the meantime."""
        return self.store.get_many(ids)
