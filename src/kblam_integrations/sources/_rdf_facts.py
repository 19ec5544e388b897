"""The facts that statements of RDF are, in words: the same for every reader of RDF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kblam.errors import FactError, SourceError
from kblam.knowledge import Triple
from kblam_integrations.sources._rdf_index import Index
from kblam_integrations.sources._rdf_terms import Quad, Term, is_blank

__all__ = ["facts"]

# Blank nodes deeper than this below what has a name are not told of.
_DEEPEST = 24
# Blank nodes that hang on each other in ever new ways would have no end of facts.
_MOST_PER_STATEMENT = 50
_MOST_AT_LEAST = 20_000


def facts(quads: Iterable[Quad], languages: Sequence[str]) -> Iterator[Triple]:
    """Yield the facts of a graph or dataset, once it has been read to the end.

    Args:
        quads: All its statements.
        languages: The preferred languages, the best first; text without one always counts.

    Raises:
        FactError: A statement holds what is no text; the message names it.
        SourceError: Blank nodes hang on each other in so many ways that there is no end to it.
    """
    index = Index(quads, tuple(language.split("-")[0].lower() for language in languages))
    most = max(_MOST_AT_LEAST, _MOST_PER_STATEMENT * len(index))
    count = 0
    for subject in index.subjects():
        for triple in _facts(index, subject, index.name(subject), "", (subject,)):
            yield triple
            count += 1
            if count > most:
                raise SourceError(
                    f"Expected at most {most} facts of {len(index)} statements, got more: blank "
                    "nodes hang on each other, or on very many others. Give them IRIs or labels."
                )


def _facts(
    index: Index, node: str, name: str, path: str, above: tuple[str, ...]
) -> Iterator[Triple]:
    """Yield what is said of a node, or of the blank node at the end of a path."""
    for predicate, value, graphs in index.statements(node):
        words = f"{path} {index.predicate(predicate)}".strip()
        for item in index.items(value):
            text = index.value(predicate, item)
            if text:
                origin = _origin(above[0], predicate, item, graphs)
                try:
                    triple = Triple(name, words, text, metadata=origin)
                except FactError as error:
                    raise FactError(
                        f"The statement ({node}, {predicate}, {text!r:.100}): {error}"
                    ) from error
                yield triple
            if not isinstance(item, str) or item in above or len(above) > _DEEPEST:
                continue
            # A measure is told by its amount and unit, and may have more to it: an error, say.
            if not text or index.is_measure(item):
                yield from _facts(index, item, name, words, (*above, item))


def _origin(subject: str, predicate: str, value: Term, graphs: list[str]) -> dict[str, Any]:
    """Return where a fact stands in the graph."""
    metadata: dict[str, Any] = {"predicate": predicate}
    if not is_blank(subject):
        metadata["subject"] = subject
    if isinstance(value, str) and not is_blank(value):
        metadata["object"] = value
    if graphs:
        # Sorted, as no reader promises an order: another one would look like a change.
        metadata["graph"] = sorted(graphs)
    return metadata
