"""From documents to facts: read, extract, find the evidence, merge names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kblam.errors import (
    ConfigError,
    FactError,
    KBLaMError,
    SourceError,
    UnsupportedSourceError,
)
from kblam.extraction._frameworks import GraphTransformer, NodeTransform
from kblam.extraction._records import single_valued
from kblam.extraction._rewriting import rewrite
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
from kblam.extraction.resolution import ResolutionOptions, contradictions, resolve
from kblam.extraction.statements import Statement, StatementExtractor
from kblam.knowledge import KnowledgeStore, Triple, verbalise

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
        max_chars: Longer texts are cut into passages of about so many characters, unless a
            framework has cut them for its own extractor.
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
            SourceError: A document cannot be read, or the extractor failed.
            MissingExtraError: Names are to be merged, and Splink is not installed.
        """
        return self._merged(self._read(documents), known)

    def extract_into(self, store: KnowledgeStore, documents: Any) -> Extraction:
        """Extract the facts of documents into a store, and merge names with those of its facts.

        The texts are read once, then everything is written in one transaction. Where others
        wrote to the store while names were compared, these are compared again with what it
        holds now: nothing that they wrote is lost.

        Args:
            store: Whose facts are known already.
            documents: As for :meth:`extract`.

        Returns:
            All facts that the store holds then.

        Raises:
            SourceError: A document cannot be read, or the extractor failed.
            MissingExtraError: Names are to be merged, and Splink is not installed.
            StoreChangedError: Others wrote to the store all the time. It holds what they wrote,
                and nothing of the documents.
        """
        found = self._read(documents)
        extraction, _ = rewrite(store, lambda known: self._merged(found, known))
        return extraction

    def _read(self, documents: Any) -> _Found:
        texts = read_documents(documents)
        pieces = [piece for text in texts for piece in self._passages(text)]
        found = _Found(
            needs_evidence=self._needs_evidence,
            documents=len({text.id for text in texts}),
            passages=len(pieces),
        )
        for statement in self._statements(pieces):
            found.add(statement)
        return found

    def _merged(self, found: _Found, known: Iterable[Triple]) -> Extraction:
        before = combine(known)
        facts = combine([*before, *found.triples])
        report = ExtractionReport(
            documents=found.documents,
            passages=found.passages,
            found=found.count,
            duplicates=len(before) + len(found.triples) - len(facts),
            without_evidence=found.without_evidence,
            unreadable=tuple(found.problems),
            facts=len(facts),
        )
        if self._resolution is None:
            conflicts = contradictions(facts, single_valued(facts))
            return Extraction(facts, replace(report, contradictions=conflicts))
        known_relations = {*self._resolution.entity_properties, *found.relations}
        resolution = resolve(facts, replace(self._resolution, entity_properties=known_relations))
        report = replace(
            report,
            facts=len(resolution.triples),
            entities=resolution.entities,
            contradictions=resolution.contradictions,
        )
        return Extraction(resolution.triples, report)

    def _statements(self, pieces: Sequence[Document]) -> Iterator[Statement]:
        try:
            yield from self._extractor.extract(pieces)
        except KBLaMError:
            raise
        except Exception as error:  # whatever frameworks and the services behind them have
            # The reason is in the chain only: it may hold the address or the key of a service.
            raise SourceError(
                f"The extractor failed with {type(error).__name__}, and nothing was kept. See that "
                "the model or service behind it answers, then try again."
            ) from error

    def _passages(self, text: Document) -> Iterable[Document]:
        if text.original is not None and not self._extractor.cuts:
            return [text]
        return passages(text, self._max_chars)


def as_extractor(extractor: Any) -> StatementExtractor:
    """Return what reads passages, made of whatever can.

    Args:
        extractor: A LangChain graph transformer; a LlamaIndex extractor of paths; a model
            (KBLaM without facts, a LangChain chat model, a LlamaIndex LLM); a function of a prompt
            and a JSON schema that returns text; or an object with ``extract(passages)``.

    Raises:
        UnsupportedSourceError: It is none of these.
    """
    if hasattr(extractor, "convert_to_graph_documents"):
        return GraphTransformer(extractor)
    if callable(getattr(extractor, "extract", None)) and hasattr(extractor, "needs_evidence"):
        made: StatementExtractor = extractor
        return made
    if callable(extractor) and hasattr(extractor, "acall"):
        return NodeTransform(extractor)
    for mark, complete in _MODELS.items():
        if callable(getattr(extractor, mark, None)):
            return LanguageModelExtractor(complete(extractor))
    if callable(extractor):
        return LanguageModelExtractor(extractor)
    raise UnsupportedSourceError(
        "Expected a LangChain graph transformer, a LlamaIndex extractor, a language model or a "
        f"function complete(prompt, json_schema), got {type(extractor).__name__}."
    )


# By the method that marks the kind of model.
_MODELS = {
    "ask_batch": kblam_complete,
    "with_structured_output": langchain_complete,
    "structured_predict": llama_index_complete,
}


@dataclass(slots=True)
class _Found:
    """The facts among the statements of an extractor.

    Attributes:
        needs_evidence: Leave out what the passage does not name.
        documents: How many documents were read.
        passages: In how many passages.
        triples: The facts.
        relations: The properties whose values are entities.
        count: How many statements there were.
        without_evidence: How many were left out.
        problems: What is no fact, and why.
    """

    needs_evidence: bool
    documents: int
    passages: int
    triples: list[Triple] = field(default_factory=list)
    relations: set[str] = field(default_factory=set)
    count: int = 0
    without_evidence: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, statement: Statement) -> None:
        """Make a fact of a statement, or note why it is none."""
        self.count += 1
        if statement.problem:
            self.problems.append(statement.problem)
            return
        passage = statement.passage
        entity, value = statement.entity, statement.value
        evidence: Evidence | None = None
        metadata: dict[str, Any] = {}
        if passage is not None:
            entity, value = spelled_in(passage.text, entity), spelled_in(passage.text, value)
            evidence = find_evidence(passage.text, entity, value)
            metadata = _provenance(passage, evidence)
        if self.needs_evidence and not (evidence and evidence.complete):
            self.without_evidence += 1
            return
        try:
            name = _in_sentence(statement.property)
            self.triples.append(Triple(entity, name, value, metadata=metadata))
        except FactError as error:
            self.problems.append(str(error))
            return
        if statement.relation:
            self.relations.add(verbalise(name))


def _in_sentence(name: str) -> str:
    """Return a property as it stands inside of a sentence; LlamaIndex capitalises them."""
    return name[:1].lower() + name[1:] if name[1:].islower() else name


def _provenance(passage: Document, evidence: Evidence | None) -> dict[str, Any]:
    metadata = {**passage.metadata, "document": passage.id}
    if evidence is not None:
        metadata["start"] = passage.start + evidence.start
        metadata["end"] = passage.start + evidence.end
    return metadata
