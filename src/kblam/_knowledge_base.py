"""A store as the decoder reads it: tensors, kept in step with the store."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kblam._fact_tensors import DeviceCopy, FactTensors, mapped
from kblam.attention import Int8Facts
from kblam.decoder import Candidates
from kblam.index import FactIndex, IndexKeeper
from kblam.knowledge import (
    Fact,
    FactVectors,
    KnowledgeStore,
    Snapshot,
    TextEmbedder,
    View,
    ViewFacts,
)

__all__ = ["EncodedFacts", "KnowledgeBase", "SeenFacts"]

# What the views that are kept may take; 16 bytes for each fact that one shows.
_VIEW_BYTES = 256 * 2**20
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
    """The facts of a store at one moment.

    Attributes:
        vectors: As the store keeps them.
        tensors: The same on the model's device. On a CPU the very memory of ``vectors``, not to
            be written to.
        texts: The facts themselves at that moment, for as long as they are read.
    """

    vectors: FactVectors
    tensors: FactTensors
    texts: Snapshot | None = None

    @property
    def keys(self) -> Tensor | Int8Facts:
        """(M, E), float16 or int8; as they are for as long as the facts are held."""
        return self.tensors.keys

    @property
    def values(self) -> Tensor | Int8Facts:
        """(M, E), as the keys."""
        return self.tensors.values

    @property
    def fingerprint(self) -> str:
        """The state of the store that these are."""
        return self.vectors.fingerprint

    def __len__(self) -> int:
        return len(self.vectors.fact_ids)


@dataclass(frozen=True)
class SeenFacts:
    """What the callers of a batch may see of a store's facts.

    Attributes:
        facts: All of the store's.
        views: The callers', one for each row of the batch; None shows every fact.
        shown: What each view shows, at the moment of ``facts``.
    """

    facts: EncodedFacts
    views: Sequence[View | None]
    shown: Mapping[View, ViewFacts]

    def only(self, rows: Sequence[int]) -> SeenFacts:
        """The same for some of the rows."""
        return SeenFacts(self.facts, [self.views[row] for row in rows], self.shown)

    def is_blind(self, row: int) -> bool:
        """Whether a row has a view, and nothing to see in it."""
        view = self.views[row]
        return view is not None and len(self.shown[view]) == 0

    def fingerprint(self, row: int) -> str:
        """The state of the facts that a row may see; nothing else has a part in it."""
        view = self.views[row]
        return self.facts.fingerprint if view is None else self.shown[view].fingerprint

    def texts(self, view: View | None, places: Sequence[int]) -> list[Fact | None]:
        """The facts at these places, as they were at that moment.

        Each is held against the view once more. It passes, but under a writer that never rests.
        """
        if self.facts.texts is None:
            return [None] * len(places)
        ids = self.facts.vectors.fact_ids
        found = self.facts.texts.get_many(ids[place] for place in places)
        if view is None:
            return found
        return [fact if fact is not None and view.shows(fact) else None for fact in found]

    def narrowing(self) -> tuple[Tensor | None, Tensor | None]:
        """Which facts the batch reads, as of :class:`kblam.decoder.FactInput`.

        Returns:
            Places of the facts that any row may see, (U,), and True on those that a row may
            see, (B, U). None of the first is all of them, none of the second all for all rows.
        """
        kinds = list(dict.fromkeys(self.views))
        if kinds == [None]:
            return None, None
        if len(kinds) == 1 and kinds[0] is not None:
            return torch.from_numpy(self.shown[kinds[0]].places), None
        seen = np.zeros((len(kinds), len(self.facts)), np.bool_)
        for line, view in zip(seen, kinds, strict=True):
            line[slice(None) if view is None else self.shown[view].places] = True
        lines = [kinds.index(view) for view in self.views]
        if None in kinds:
            return None, torch.from_numpy(seen[lines])
        places = np.flatnonzero(seen.any(0))
        return torch.from_numpy(places), torch.from_numpy(seen[:, places][lines])


class KnowledgeBase:
    """Keeps the encoded facts of a store in memory once, and which of them views show.

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
        self._copy = None if device.type == "cpu" else DeviceCopy(device)
        self._as_queries = as_queries or encoder.encode
        self._facts: EncodedFacts | None = None
        self._views: dict[View, ViewFacts] = {}  # the one asked for last comes last
        self._lock = threading.Lock()
        self._index = IndexKeeper(
            store,
            at_least=_INDEX_FROM,
            sample_queries=self._sample_questions,
            fitted_to=asker,
        )

    def read(self) -> EncodedFacts:
        """The facts as they are now; only what changed since the last call is embedded."""
        return self.seen_by([None]).facts

    def seen_by(self, views: Sequence[View | None]) -> SeenFacts:
        """The facts as they are now, and which of them the callers of a batch may see.

        Args:
            views: Those of the callers; None shows every fact.
        """
        with self._lock:
            wanted = dict.fromkeys(view for view in views if view is not None)
            facts = self._read(wanted)
            shown = {view: self._views.pop(view) for view in wanted}
            self._views.update(shown)
            size = sum(view.nbytes for view in self._views.values())
            while size > _VIEW_BYTES and len(self._views) > len(wanted):
                size -= self._views.pop(next(iter(self._views))).nbytes
            return SeenFacts(facts, views, shown)

    @contextmanager
    def reading(self, views: Sequence[View | None]) -> Iterator[SeenFacts]:
        """Lend what callers see now, with the facts' texts, whatever is written meanwhile."""
        for last in (*[False] * (_TRIES - 1), True):
            seen = self.seen_by(views)
            with self.store.snapshot() as texts:
                # Under a writer that never rests, the few texts that it just changed are newer.
                if texts.fingerprint == seen.facts.fingerprint or last:
                    yield replace(seen, facts=replace(seen.facts, texts=texts))
                    return

    def _read(self, views: Collection[View]) -> EncodedFacts:
        """Read what changed, so that the facts and the views are of one state."""
        self.store.catch_up()
        held = self._facts
        # Another process may have added a fact between the embedding and the reading.
        complete = held is not None and not held.vectors.pending
        known = complete and self._views.keys() >= set(views)
        if held is not None and known and self._is_current(held):
            return held
        self.store.encode(self._encoder)
        previous = None if held is None else held.vectors
        vectors, self._views = self.store.vectors_and_views(
            self._encoder.name, views, previous, self._views
        )
        if held is None or held.vectors is not vectors:
            # What no answer reads any more may be written over.
            held = self._facts = None
            held = EncodedFacts(vectors, self._tensors(vectors, previous))
        self._facts = held
        return held

    def _tensors(self, vectors: FactVectors, previous: FactVectors | None) -> FactTensors:
        return mapped(vectors) if self._copy is None else self._copy.of(vectors, previous)

    def _is_current(self, held: EncodedFacts) -> bool:
        # A store that is converted holds the same facts, in another form.
        same = held.fingerprint == self.store.fingerprint
        return same and held.vectors.form == self.store.vector_form

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
        facts = self.store.get_many(vectors.fact_ids[int(place)] for place in chosen)
        texts = [f"What is {fact.key_text}?" for fact in facts if fact is not None]
        return np.asarray(self._as_queries(texts), np.float32)
