"""The part of a store that keeps it in step: with its sources, and its vectors with its facts."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from typing import Any, Literal

from kblam.errors import ConfigError, FactError, UnsupportedSourceError
from kblam.knowledge._database import Database
from kblam.knowledge._difference import SyncReport
from kblam.knowledge._encode import encode_facts, lacks_vectors
from kblam.knowledge._following import Follower, Following
from kblam.knowledge._reader import StoreReader
from kblam.knowledge._state import State
from kblam.knowledge._synchronise import Synchroniser, Terms
from kblam.knowledge.protocols import TextEmbedder, TripleSource
from kblam.knowledge.sources import ListSource, TripleLike
from kblam.knowledge.triple import Triple

__all__ = ["LiveStore", "Source", "as_source"]

Source = TripleSource | Iterable[TripleLike]


class LiveStore(StoreReader):
    """What keeps a store's facts those of a source, and embedded.

    Args:
        database: Where the facts are.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._encoding = threading.Lock()
        # Not kept alive by the store: who uses an encoder does.
        self._embedders: weakref.WeakValueDictionary[str, TextEmbedder]
        self._embedders = weakref.WeakValueDictionary()
        self._synchroniser = Synchroniser(self._database, self._known_embedders)
        self._follower: Follower | None = None

    def encode(
        self, embedder: TextEmbedder, *, progress: bool = False, batch_size: int = 2048
    ) -> int:
        """Embed the facts that have no vectors of this encoder yet.

        No lock is held while texts are embedded, and every batch is written as soon as it is
        done: what was embedded before an interruption is not embedded again. Equal texts are
        embedded once.

        Args:
            embedder: Embeds the texts; the vectors are kept under its name.
            progress: Show a progress bar.
            batch_size: How many facts are embedded and written together.

        Returns:
            How many facts lacked vectors.

        Raises:
            StoreError: The encoder's vectors have the wrong shape, or are not finite.
        """
        self._know(embedder)
        if not lacks_vectors(self._database, embedder):
            return 0
        with self._encoding:
            return encode_facts(self._database, embedder, progress=progress, batch_size=batch_size)

    def _know(self, embedder: TextEmbedder) -> None:
        with suppress(TypeError):  # an object that cannot be referred to weakly
            self._embedders[embedder.name] = embedder

    def _known_embedders(self) -> list[TextEmbedder]:
        # A copy at once: another thread may use one for the first time.
        found = [reference() for reference in self._embedders.valuerefs()]
        return [embedder for embedder in found if embedder is not None]

    def sync(
        self,
        source: Source | TripleLike,
        *,
        encoder: TextEmbedder | None = None,
        allow_empty: bool = False,
        unchanged_since: Hashable = None,
    ) -> SyncReport:
        """Make the store say what a source says, no more and no less.

        The source is read first; what differs is then applied in one transaction. A fact that
        stays keeps its vectors, and nothing is written where nothing differs. Where the source
        can tell that it has not changed since it was last read for this store
        (:class:`VersionedSource`), this costs no more than asking it; where it has a journal
        (:class:`JournaledSource`, as another store has), only what changed is read.

        Where the store knows an encoder, what is new is embedded before it is written: whoever
        asks meanwhile is answered from the facts as they were, and never waits. The facts of a
        store that was empty are written first.

        Args:
            source: As for :meth:`add`.
            encoder: Embeds what is new. Without it, those do that :meth:`encode` was called
                with; if there are none, facts are embedded when they are first read.
            allow_empty: Empty the store where the source gives nothing and does not itself say
                (by ``count()``) that it is empty.
            unchanged_since: What :meth:`state` returned before the facts were read that the
                source was made of. What others wrote to the store since is then not removed,
                but an error.

        Raises:
            ConfigError: ``unchanged_since`` is no state of a store.
            FactError: The source holds something that is no fact, or one identifier twice; or
                it is a path, which is to be opened first.
            StoreChangedError: The store is not in the state ``unchanged_since`` any more.
            SourceError: The source cannot be read, or gives nothing. After any error the store
                is as it was.
        """
        if not isinstance(unchanged_since, State | None):
            raise ConfigError(
                "Expected unchanged_since to be what store.state() returned before the facts were "
                f"read, got {unchanged_since!r:.100}."
            )
        if encoder is not None:
            self._know(encoder)
        triples = source if isinstance(source, TripleSource) else as_source(source)
        report = self._synchroniser.sync(
            triples, Terms(allow_empty, unchanged_since=unchanged_since)
        )
        if encoder is not None:
            # What a first synchronisation left for later, and what others wrote meanwhile.
            embedded = self.encode(encoder)
            report = replace(report, embedded=report.embedded + embedded)
        return report

    def follow(
        self,
        source: TripleSource,
        *,
        every: float | None = None,
        encoder: TextEmbedder | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        allow_empty: bool = False,
    ) -> SyncReport:
        """Make the store a mirror of a source, and keep it one.

        What else is written to such a store is lost at the next reading. A mirror in a file
        stays one: follow the source again when it is opened, and the vectors of all facts that
        did not change meanwhile are there.

        The source is read once before this returns. From then on without ``every`` before each
        answer of a model; with it in the background, in a thread that :meth:`unfollow` and
        :meth:`close` stop. After a failure there the store stays as it is, and the pauses grow
        until the source can be read again; :attr:`following` tells how it goes.

        Args:
            source: What the store is to hold. One that was followed before is no longer.
            every: Seconds between two readings; ``math.inf`` reads only when :meth:`refresh` is
                called.
            encoder: As for :meth:`sync`.
            on_error: While the source cannot be read, answers "raise" that, or go on from what
                the store holds and "warn" (:class:`kblam.errors.StaleFactsWarning`).
            allow_empty: As for :meth:`sync`, at each reading.

        Raises:
            ConfigError: A setting is out of range.
            FactError: The source holds something that is no fact. The store is unchanged.
            SourceError: The source cannot be read, or gives nothing. The store is unchanged, and
                follows nothing.
            StoreError: The store holds facts of its own, which would be removed.
            UnsupportedSourceError: ``source`` is none.
        """
        given: object = source
        if not isinstance(given, TripleSource):
            raise UnsupportedSourceError(
                "Expected a source to follow, which has triples() and count(), got "
                f"{type(given).__name__}. Facts at hand are taken by sync; for a graph or a "
                "database use kblam_integrations.sources.as_store."
            )
        follower = Follower(
            self._synchroniser,
            source,
            every=every,
            encoder=encoder,
            on_error=on_error,
            allow_empty=allow_empty,
        )
        self._synchroniser.expect_mirror()
        self.unfollow()
        if encoder is not None:
            self._know(encoder)
        report = follower.refresh()
        if encoder is not None:
            report = replace(report, embedded=report.embedded + self.encode(encoder))
        self._follower = follower
        follower.start()
        return report

    def unfollow(self) -> None:
        """Stop following; the facts stay. Nothing is written once this returns.

        A reading that is waiting for its source is waited for a few seconds at most, and then
        ends by itself.
        """
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.stop()

    @property
    def source(self) -> TripleSource | None:
        """The source that the store follows, None if it follows none."""
        return None if self._follower is None else self._follower.source

    @property
    def following(self) -> Following | None:
        """How following goes: the last success, the last error; None if the store follows none."""
        return None if self._follower is None else self._follower.following

    def refresh(self) -> SyncReport:
        """Bring the store up to date with the source that it follows, if there is one, now.

        Where the source can tell that nothing changed, this costs no more than asking it; else
        the source is read and compared (see :meth:`sync`).

        Raises:
            FactError: The source holds something that is no fact.
            SourceError: The source cannot be read, or gives nothing. After any error the store
                is as it was.
        """
        return SyncReport() if self._follower is None else self._follower.refresh()

    def catch_up(self) -> SyncReport:
        """Do what is due before an answer; models call it.

        That is :meth:`refresh` where a source is followed without ``every``. Where it is read
        in the background, this does not wait, and tells of the last error, if there is one.

        Raises:
            FactError: The source holds something that is no fact.
            SourceError: The source cannot be read, unless ``on_error`` is "warn".
        """
        return SyncReport() if self._follower is None else self._follower.catch_up()


def as_source(triples: Any) -> TripleSource:
    """Return a source of whatever ``KnowledgeStore.add`` takes.

    Raises:
        FactError: It is a path or a text, which nothing here opens.
    """
    if isinstance(triples, (str, bytes, PathLike)):
        raise FactError(
            f"A fact must be a Triple, a tuple or a mapping, got {triples!r:.200}. If that is a "
            "path, open what is there first: KnowledgeStore(path) for a store, CsvSource(path) or "
            "JsonlSource(path) of kblam.knowledge for a file of facts, "
            "kblam_integrations.sources.as_store(path) for any of these, RDF and addresses."
        )
    if isinstance(triples, StoreReader):
        # Copied: two stores that are given to each other must not wait for each other.
        return ListSource(triples.triples())
    if isinstance(triples, TripleSource):
        return triples
    single = isinstance(triples, (Triple, Mapping)) or _is_plain_triple(triples)
    if isinstance(triples, Iterable) and not single:
        # Copied: what is read while the store is written must not depend on the store.
        return ListSource(triples)
    return ListSource([triples])  # which also says what a fact must be


def _is_plain_triple(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and all(isinstance(p, str) for p in item)
