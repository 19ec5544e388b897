"""The knowledge store: facts, their vectors, and a journal of changes in one SQLite file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm.auto import tqdm

from kblam.errors import FactError, StoreError, UnsupportedSourceError
from kblam.knowledge import _rows
from kblam.knowledge._asking import triples_of
from kblam.knowledge._convert import convert_vectors
from kblam.knowledge._database import Database
from kblam.knowledge._layout import VectorForm, expect_form
from kblam.knowledge._live import LiveStore, Source, as_source
from kblam.knowledge._schema import read_form
from kblam.knowledge.protocols import DocumentExtractor
from kblam.knowledge.sources import TripleLike

__all__ = ["KnowledgeStore"]


class KnowledgeStore(LiveStore):
    """Facts with their vectors in one SQLite file.

    A store may be used by many threads, and its file by many processes: readers never wait and
    see what was committed last, writers take turns. Every method that writes is one
    transaction: it happens wholly or not at all, also when the process is killed.

    Args:
        path: A file, created if it does not exist; ``":memory:"`` keeps everything in this
            process.
        vectors: What vectors are kept in, for good, in the file and in memory: ``"half"``
            precision (two bytes a number), or ``"int8"`` (one byte a number and four a vector),
            which takes about half as much. None is what the store has, half precision in a new
            one. :meth:`convert_vectors` changes it.
        create: Make a store where there is no file, or an empty one. False refuses that, and
            leaves the place as it is.

    Raises:
        ConfigError: ``vectors`` is neither.
        StoreCorruptError: The file is not a knowledge store, or it is damaged.
        StoreError: The file cannot be opened, a newer version of kblam wrote it, or it keeps its
            vectors in another form than ``vectors``; or there is none, and ``create`` is False.
    """

    def __init__(
        self,
        path: str | Path = ":memory:",
        *,
        vectors: VectorForm | None = None,
        create: bool = True,
    ) -> None:
        if vectors is not None:
            expect_form(vectors)
        super().__init__(Database(path, vectors, create=create))

    @classmethod
    def from_source(
        cls,
        source: Source,
        path: str | Path = ":memory:",
        *,
        vectors: VectorForm | None = None,
        progress: bool = False,
    ) -> KnowledgeStore:
        """Open a store and add every triple of a source to it.

        Args:
            source: A triple source, or triples in any form that :meth:`add` takes.
            path: As for the class.
            vectors: As for the class.
            progress: Show a progress bar.

        Raises:
            FactError: The source holds something that is no fact; the store is then unchanged. Or
                it is a path, which is to be opened first (``CsvSource``, ``JsonlSource``).
        """
        facts = as_source(source)  # what is none leaves no file behind
        store = cls(path, vectors=vectors)
        try:
            store.add(facts, progress=progress)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def from_documents(
        cls, documents: Any, extractor: DocumentExtractor, path: str | Path = ":memory:"
    ) -> KnowledgeStore:
        """Open a store and add the facts that documents state.

        Args:
            documents: What the extractor takes: texts, paths, a framework's documents.
            extractor: A ``kblam.extraction.FactExtractor`` around a LangChain graph transformer,
                a LlamaIndex extractor or a language model.
            path: As for the class.

        Raises:
            SourceError: A document cannot be read.
            UnsupportedSourceError: The extractor is none; frameworks' own are to be wrapped.
        """
        if not isinstance(extractor, DocumentExtractor):
            raise UnsupportedSourceError(
                f"Expected an extractor of facts, got {type(extractor).__name__}. Wrap it: "
                "kblam.extraction.FactExtractor(extractor)."
            )
        return cls.from_source(extractor.extract(documents), path)

    def add(self, triples: Source | TripleLike, *, progress: bool = False) -> int:
        """Add facts. What the store says already is left as it is.

        Args:
            triples: A triple source; triples, tuples (entity, property, value) or mappings with
                these keys; or a single one of them.
            progress: Show a progress bar.

        Returns:
            How many facts were added.

        Raises:
            FactError: An item is no fact, or its identifier is taken by another fact, or
                ``triples`` is a path. None of the triples is then added.
        """
        source = as_source(triples)
        total = source.count() if progress else None
        bar = tqdm(
            triples_of(source), total=total, desc="Adding", unit=" facts", disable=not progress
        )
        with self._database.write() as connection:
            return _rows.add(connection, bar)

    def upsert(self, triples: Source | TripleLike) -> int:
        """Add facts or replace those that they bring up to date.

        A triple with an identifier replaces the fact of that name, and takes the place of a
        fact that says the same under another name. Triples without an identifier replace
        every value of their property of their entity, and what of these is not given again is
        removed: two such triples with the same entity and property are its two values. In which
        way the property is spelled (``release_date``, ``release date``) does not matter, but an
        IRI is a property of its own. A fact is replaced as a whole, metadata included; it keeps
        its identifier.

        Args:
            triples: As for :meth:`add`.

        Returns:
            How many facts were added, changed or removed; what is the same is not counted.

        Raises:
            FactError: An item is no fact, or ``triples`` is a path. The store is then unchanged.
        """
        with self._database.write() as connection:
            return _rows.upsert(connection, triples_of(as_source(triples)))

    def remove(
        self, *, id: str | None = None, entity: str | None = None, property: str | None = None
    ) -> int:
        """Remove the facts for which all that is given holds.

        Returns:
            How many were removed.

        Raises:
            FactError: Nothing was given (this would remove every fact).
        """
        if id is None and entity is None and property is None:
            raise FactError("Say what to remove: an id, an entity, a property, or several.")
        with self._database.write() as connection:
            return _rows.remove(connection, id, entity, property)

    @property
    def vector_form(self) -> VectorForm:
        """What the vectors are kept in: ``"half"`` precision or ``"int8"``."""
        with self._database.read() as connection:
            return read_form(connection)

    def convert_vectors(self, form: VectorForm) -> bool:
        """Keep the vectors in another form from now on, those that there are included.

        Nothing is embedded anew, and models that have the store attached go on meanwhile. What
        int8 rounded off does not come back with half precision; a store that is built anew has
        it. The file is written anew as a whole, which takes as much room again for that time.

        Args:
            form: ``"half"`` or ``"int8"``, as for the class.

        Returns:
            Whether the store kept them in the other form before.

        Raises:
            ConfigError: ``form`` is neither.
            StoreCorruptError: A vector is damaged. The store is unchanged.
        """
        expect_form(form)
        return convert_vectors(self._database, form)

    def close(self) -> None:
        """Stop following and close the store; what is committed stays."""
        self.unfollow()
        self._database.close()

    def __deepcopy__(self, memo: object) -> KnowledgeStore:
        # A handle on shared facts: frameworks that copy their settings must not copy these.
        return self

    def __reduce__(self) -> tuple[type[KnowledgeStore], tuple[str]]:
        if self.path is None:
            raise StoreError(
                "A knowledge store in memory cannot be pickled. Keep it in a file: the copy then "
                "opens the same file."
            )
        return KnowledgeStore, (str(self.path),)

    def __enter__(self) -> KnowledgeStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        if self._database.closed:
            return f"KnowledgeStore({self._database.name!r}, closed)"
        return f"KnowledgeStore({self._database.name!r}, {len(self)} facts)"
