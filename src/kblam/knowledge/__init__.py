"""Facts: triples, the words a sentence encoder reads, and the store that keeps them.

Needs numpy and SQLite only. The store keeps one pair of vectors per fact and encoder, whatever
the model, so that a changed fact costs one embedding.
"""

from __future__ import annotations

from kblam.knowledge._change import Change
from kblam.knowledge._difference import SyncReport
from kblam.knowledge._following import Following
from kblam.knowledge._layout import VectorForm, unpacked
from kblam.knowledge._literals import literal_text
from kblam.knowledge._snapshot import Snapshot
from kblam.knowledge._view_facts import ViewFacts
from kblam.knowledge._words import term_words, value_words, verbalise
from kblam.knowledge.protocols import (
    DocumentExtractor,
    JournaledSource,
    SourceChanges,
    TextEmbedder,
    TripleSource,
    VersionedSource,
)
from kblam.knowledge.report import StoreReport
from kblam.knowledge.sources import CsvSource, JsonlSource, ListSource, SeveralSources
from kblam.knowledge.store import KnowledgeStore
from kblam.knowledge.triple import Fact, Triple, as_triple, inverse
from kblam.knowledge.vectors import FactVectors
from kblam.knowledge.view import View

__all__ = [
    "Change",
    "CsvSource",
    "DocumentExtractor",
    "Fact",
    "FactVectors",
    "Following",
    "JournaledSource",
    "JsonlSource",
    "KnowledgeStore",
    "ListSource",
    "SeveralSources",
    "Snapshot",
    "SourceChanges",
    "StoreReport",
    "SyncReport",
    "TextEmbedder",
    "Triple",
    "TripleSource",
    "VectorForm",
    "VersionedSource",
    "View",
    "ViewFacts",
    "as_triple",
    "inverse",
    "literal_text",
    "term_words",
    "unpacked",
    "value_words",
    "verbalise",
]
