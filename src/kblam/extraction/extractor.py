"""From documents to facts: read, extract, find the evidence, merge names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kblam.errors import ConfigError, FactError, UnsupportedSourceError
from kblam.extraction._frameworks import GraphTransformer, NodeTransform
from kblam.extraction._spans import Evidence, find_evidence, spelled_in
from kblam.extraction.documents import Document, passages, read_documents
from kblam.extraction.language_model import (
    LanguageModelExtractor,
    kblam_complete,
    langchain_complete,
    llama_index_complete,
)
from kblam.extraction.merging import combine
from kblam.extraction.report import ExtractionReport
from kblam.extraction.resolution import ResolutionOptions, resolve
from kblam.extraction.statements import Passages, Statement, StatementExtractor
from kblam.knowledge import Triple, verbalise

__all__ = ["Extraction", "FactExtractor", "as_extractor"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """Facts from documents: a source of triples, for any store to read.

    Attributes:
        facts: The facts.
        report: What was found, merged and left out.
    """

    facts: list[Triple]
    report: ExtractionReport

    def triples(self) -> Iterator[Triple]:
        """Yield the facts."""
        return iter(self.facts)

    def count(self) -> int:
        """Return how many facts there are."""
        return len(self.facts)

    def __repr__(self) -> str:
        return str(self.report)


class FactExtractor:
    """Turns documents into facts that know where they are stated.

    Every fact has in its metadata the ``document``, and with ``start`` and ``end`` the span of the
    sentence in it that states the fact; and the metadata of the document itself.

    Args:
        extractor: Anything that :func:`as_extractor` takes.
        resolution: How names of the same entity are found; None leaves all names as they are.
        max_chars: Longer texts are cut into passages of about so many characters, unless a framework
            has cut them for its own extractor.
        needs_evidence: Leave out facts whose entity or value the passage does not name. The
            default is what the extractor needs: language models do, frameworks' extractors do not.

    Raises:
        ConfigError: A passage of no length.
        UnsupportedSourceError: Nothing of this kind extracts facts.
    """

    def __init__(
        self,
        extractor: Any,
        *,
        resolution: ResolutionOptions | None = ResolutionOptions(),  # noqa: B008
        max_chars: int = 1000,
        needs_evidence: bool | None = None,
    ) -> None:
        if max_chars < 1:
            raise ConfigError(f"A passage needs max_chars of at least 1, got {max_chars}.")
        self._extractor = as_extractor(extractor)
        self._resolution = resolution
        self._max_chars = max_chars
        self._needs_evidence = (
            self._extractor.needs_evidence if needs_evidence is None else needs_evidence
        )

    def extract(self, documents: Any, *, known: Iterable[Triple] = ()) -> Extraction:
        """Extract the facts of documents.

        Args:
            documents: Texts, paths, LangChain or LlamaIndex documents, one or several.
            known: Facts that there are already. They are part of the result, and names are merged
                with theirs.

        Raises:
            SourceError: A document cannot be read.
            MissingExtraError: Names are to be merged, and Splink is not installed.
        """
        texts = read_documents(documents)
        pieces = [piece for text in texts for piece in self._passages(text)]
        found = _Found(needs_evidence=self._needs_evidence)
        for statement in self._extractor.extract(pieces):
            found.add(statement)
        before = combine(known)
        facts = combine([*before, *found.triples])
        report = ExtractionReport(
            documents=len({text.id for text in texts}),
            passages=len(pieces),
            found=found.count,
            duplicates=len(before) + len(found.triples) - len(facts),
            without_evidence=found.without_evidence,
            unreadable=tuple(found.problems),
            facts=len(facts) - len(before),
        )
        return self._resolved(facts, report, found.relations)

    def _passages(self, text: Document) -> Iterable[Document]:
        if text.original is not None and not self._extractor.cuts:
            return [text]
        return passages(text, self._max_chars)
