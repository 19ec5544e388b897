"""An index of a store's facts: for a query, the few positions that are worth scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from kblam.errors import ConfigError, require
from kblam.index import _file
from kblam.index._calibrate import disturbed, exact_best, least_width
from kblam.index._codes import Codes, trained
from kblam.index._file import index_path
from kblam.index._positions import compared, marks, shifted
from kblam.index._state import State, check_settings
from kblam.knowledge import FactVectors

__all__ = ["FactIndex", "index_path"]

Single = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]

# Above this share of facts that changed since they were encoded, all are encoded anew.
_CHANGED = 1 / 16
_ALWAYS_ALLOWED = 64
# Queries whose exactly best facts are looked for.
_ASKED = 256


def _none() -> Int:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class FactIndex:
    """Finds the facts that a query's best are among. It is of one state of a store, for good.

    Facts that changed since they were encoded stand in a list, and are candidates of every
    query.

    Attributes:
        width: How many facts come from the codes.
        measured_recall: Which share of the exactly best facts they held where it was measured.
    """

    width: int
    measured_recall: float
    _state: State
    _codes: Codes = field(repr=False)
    # Shared with the vectors of that state.
    _rows: Int = field(repr=False)
    # Codes whose facts are gone, and positions of facts that have no code.
    _gone: Int = field(default_factory=_none, repr=False)
    _come: Int = field(default_factory=_none, repr=False)
    # Positions that are candidates of every query: what came, and what was replaced.
    _listed: Int = field(default_factory=_none, repr=False)

    @classmethod
    def build(
        cls,
        vectors: FactVectors,
        *,
        queries: Single | None = None,
        wanted: int = 64,
        recall: float = 0.99,
        seed: int = 0,
        progress: bool = False,
        step: Callable[[int], None] | None = None,
    ) -> FactIndex:
        """Encode all facts, and find out how many of the codes' best have to be looked at.

        Args:
            vectors: The facts of a whole store; their keys are read by blocks.
            queries: Samples of what will be asked (Q, E), in which queries differ from keys.
                They tell how many of the codes' best are enough. None: made up from the keys.
            wanted: How many facts a query is to find.
            recall: Which share of its exactly best facts it is to find, on average.
            seed: Of everything that is drawn.
            progress: Show a progress bar.
            step: Called with the number of facts after every block; what it raises ends the
                building.

        Raises:
            ConfigError: There are no facts, or a setting is out of range, or queries are of
                another length than keys.
            MissingExtraError: faiss is not installed.
        """
        require("faiss", extra="index")
        check_settings(vectors, queries, wanted, recall)
        if queries is None or not len(queries):
            queries = disturbed(vectors.keys, _ASKED, seed)
        asked = np.ascontiguousarray(queries[:: -(-len(queries) // _ASKED)], np.float32)
        bar = tqdm(total=len(vectors), desc="Indexing", unit=" facts", disable=not progress)

        def encoded(count: int) -> None:
            bar.update(count)
            if step is not None:
                step(count)

        with bar:
            codes = trained(vectors.keys, seed, encoded)
        best = exact_best(vectors.keys, asked, wanted)
        width, measured = least_width(codes, asked, best, recall)
        return cls(width, measured, State.of(vectors), codes, vectors.rows)

    @property
    def sequence(self) -> int:
        """The journal's position at the state it is of."""
        return self._state.sequence

    @property
    def store_id(self) -> str:
        """The store whose facts it is of."""
        return self._state.store_id

    @property
    def encoder(self) -> str:
        """The encoder's name."""
        return self._state.encoder

    @property
    def nbytes(self) -> int:
        """The memory it takes beside the vectors."""
        lists = self._gone.nbytes + self._come.nbytes + self._listed.nbytes
        return self._codes.nbytes + lists

    @property
    def changed_share(self) -> float:
        """Which share of the facts changed since they were encoded."""
        return (len(self._gone) + len(self._listed)) / max(len(self._codes), 1)

    def __len__(self) -> int:
        return self._state.count

    def is_of(self, vectors: FactVectors) -> bool:
        """Tell whether its positions are those of these vectors."""
        # Of one state, facts that lack vectors only become fewer: as many are the same ones.
        return vectors.view is None and self._state == State.of(vectors)

    def candidates(self, queries: Single, width: int | None = None) -> list[Int]:
        """Return the positions that are worth scoring exactly, ascending, for each query.

        Args:
            queries: (Q, E), of any length.
            width: How many come from the codes, if not the number that was found to be enough.

        Raises:
            ConfigError: The queries are of another length than the keys.
        """
        if queries.ndim != 2 or queries.shape[1] != self._state.dimension:
            raise ConfigError(
                f"Expected queries (Q, {self._state.dimension}), got {queries.shape}. Embed them "
                f"with the encoder {self.encoder!r}."
            )
        width = self.width if width is None else width
        if width >= len(self._codes):
            return [np.arange(len(self), dtype=np.int64) for _ in range(len(queries))]
        found = self._codes.best(queries, width + len(self._gone))
        return [self._positions(codes[codes >= 0]) for codes in found]

    def _positions(self, codes: Int) -> Int:
        """Return the positions of some codes' facts, and of those that are always looked at."""
        if len(self._gone):
            codes = codes[~np.isin(codes, self._gone)]
        places = shifted(codes, self._gone, self._come)
        if len(self._listed):
            return np.union1d(places, self._listed)
        return np.sort(places)

    def updated(self, vectors: FactVectors, changed: Iterable[str]) -> FactIndex | None:
        """Return an index of a later state of the same store.

        Args:
            vectors: The facts as they are then.
            changed: The identifiers of all facts that were added, replaced or removed since
                (``KnowledgeStore.journal``), and maybe others.

        Returns:
            The index; None if it has to be built anew: too much changed, or the vectors are
            not of a later state of this store.
        """
        now = State.of(vectors)
        if vectors.view is not None or not self._state.may_become(now):
            return None
        removed, added = compared(self._rows, vectors.rows)
        if self._is_too_much(len(removed) + len(added)):
            return None
        # What came is known already, and need not be looked for.
        others = set(changed).difference(vectors.fact_ids[int(place)] for place in added)
        replaced = vectors.part.ids.positions(others)
        return self._changed(now, vectors, removed, added, replaced)

    def _changed(
        self, now: State, vectors: FactVectors, removed: Int, added: Int, replaced: Int
    ) -> FactIndex | None:
        """Return an index of a later state.

        Args:
            now: That state.
            vectors: Its facts.
            removed: Positions before, of facts that are gone.
            added: Positions of facts that came.
            replaced: Positions of facts that may have other keys.
        """
        without_code = np.isin(removed, self._come, assume_unique=True)
        gone = np.union1d(self._gone, shifted(removed[~without_code], self._come, self._gone))
        come, listed = (
            np.union1d(shifted(np.setdiff1d(places, removed), removed, added), added)
            for places in (self._come, self._listed)
        )
        listed = np.union1d(listed, replaced)
        if self._is_too_much(len(gone) + len(listed)):
            return None
        return replace(self, _state=now, _rows=vectors.rows, _gone=gone, _come=come, _listed=listed)

    def _is_too_much(self, count: int) -> bool:
        return count > _CHANGED * len(self._codes) + _ALWAYS_ALLOWED

    def save(self, path: str | Path, vectors: FactVectors, *, mode: int = 0o600) -> bool:
        """Write the index to a file.

        Args:
            path: Where; see :func:`index_path`.
            vectors: The facts that it is of.
            mode: The file's permissions; it tells about the facts, as the store does.

        Returns:
            Whether it was written: False where the folder or the disk does not allow it.

        Raises:
            ConfigError: These are not the facts that it is of.
        """
        if not self.is_of(vectors):
            raise ConfigError(
                f"Expected the vectors at change {self.sequence} of store {self.store_id}, got "
                f"those at change {vectors.sequence} of store {vectors.store_id}. Save an index "
                "with the vectors that it was built from or brought up to date with."
            )
        faiss = require("faiss", extra="index")
        about = {"state": asdict(self._state), "width": self.width, "recall": self.measured_recall}
        arrays = {
            "rows": self._rows,
            "marks": marks(vectors.keys),
            "gone": self._gone,
            "come": self._come,
            "listed": self._listed,
            "rotation": self._codes.rotation,
            "codes": faiss.serialize_index(self._codes.searched),
        }
        return _file.write(Path(path), about, arrays, mode)

    @classmethod
    def load(cls, path: str | Path, vectors: FactVectors) -> FactIndex | None:
        """Read an index, and bring it up to date.

        If it was written at another state of the store, the keys of all facts are compared with
        what it was made of. So it is of these very facts, whatever became of the store since.

        Args:
            path: Where it is.
            vectors: The facts as they are.

        Returns:
            The index; None if there is none that can be used.

        Raises:
            MissingExtraError: faiss is not installed.
        """
        faiss = require("faiss", extra="index")
        read = _file.read(Path(path)) if vectors.view is None else None
        if read is None:
            return None
        about, arrays = read
        try:
            then, now = State(**about["state"]), State.of(vectors)
            # Without a mark, states of one number cannot be told apart.
            if then.mark is None or not then.may_become(now):
                return None
            codes = Codes(arrays["rotation"], faiss.deserialize_index(arrays["codes"]))
            lists = (arrays[name] for name in ("rows", "gone", "come", "listed"))
            found = cls(about["width"], about["recall"], then, codes, *lists)
            before = arrays["marks"]
        except (KeyError, TypeError, RuntimeError):
            return None  # another version's
        removed, added = compared(found._rows, vectors.rows)
        if then == now and not len(removed) and not len(added):
            return replace(found, _rows=vectors.rows)
        if found._is_too_much(len(removed) + len(added)):
            return None
        after = np.delete(marks(vectors.keys), added)
        stayed = np.delete(np.arange(now.count), added)
        replaced = stayed[after != np.delete(before, removed)]
        return found._changed(now, vectors, removed, added, replaced)
