"""LangChain's ``GraphDocument``, of whichever package."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from kblam.errors import FactError
from kblam.knowledge import Triple
from kblam_integrations.sources._graph_facts import called, edge_facts, node_facts
from kblam_integrations.sources._moments import one_moment, undisturbed
from kblam_integrations.sources._values import fingerprint, text_of

__all__ = ["GraphDocumentSource", "source_of"]


class GraphDocumentSource:
    """The facts of graph documents, which LangChain's graph transformers make of texts.

    ============================  ===================================================
    in the document               as a fact
    ============================  ===================================================
    a relationship                (its source, its type, its target)
    a property of a node          (the node, the property, its value)
    the type of a node            (the node, ``type``, the type), unless it is the
                                  default ``Node``
    a property of a relationship  (``Ann works at Acme``, the property, its value)
    ============================  ===================================================

    A node is called by its property ``name``, else by its id. The facts' metadata say which
    document they are from: ``document`` is its id, ``source`` what its own metadata call so. A
    fact of several documents has lists of these, in the documents' order.

    Several packages have a class of this name. Documents are known by what they have: nodes
    (id, type, properties), relationships (source, target, type, properties) and a source.

    Args:
        documents: One graph document or several; are only read. What is added to a list later
            is found by the next refresh.

    Raises:
        FactError: One of them is no graph document.
    """

    def __init__(self, documents: Any) -> None:
        self._documents: Sequence[Any] = [documents] if _is_document(documents) else documents
        self._checked()

    def triples(self) -> Iterator[Triple]:
        """Read every fact, document by document.

        Raises:
            FactError: Something that is no graph document was added to the list, or a property
                refers to itself.
            StoreError: The documents changed during every one of several tries.
        """
        return iter(one_moment(self._facts, self.state))

    def count(self) -> int:
        """Return about how many facts there are: relationships and properties of nodes."""
        return sum(
            len(document.relationships) + sum(len(node.properties) for node in document.nodes)
            for document in self._checked()
        )

    def state(self) -> Hashable:
        """Return a hash of what the facts of all documents are made of.

        It costs about 10 ms for 1,000 nodes.

        Raises:
            FactError: As for :meth:`triples`.
            StoreError: The documents changed during every one of several tries.
        """
        return undisturbed(lambda: hash(tuple(map(_hash, self._checked()))))

    def _checked(self) -> list[Any]:
        documents = list(self._documents)
        for index, document in enumerate(documents):
            if not _is_document(document):
                raise FactError(
                    f"Item {index} must be a graph document as those before it, got "
                    f"{type(document).__name__}. Pass graph documents only, or facts only."
                )
        return documents

    def _facts(self) -> list[Triple]:
        origins: dict[tuple[str, str, str], dict[str, list[str]]] = {}
        for document in undisturbed(self._checked):
            origin = _origin(document)
            for triple in _document_facts(document):
                own = origins.setdefault((triple.entity, triple.property, triple.value), {})
                for key, value in origin.items():
                    if value not in own.setdefault(key, []):
                        own[key].append(value)
        return [
            Triple(*content, metadata={key: _one_or_all(values) for key, values in own.items()})
            for content, own in origins.items()
        ]


def _hash(document: Any) -> int:
    nodes = [_node_state(node) for node in document.nodes]
    edges = [
        (
            *(_node_state(node) for node in (edge.source, edge.target)),
            str(edge.type),
            fingerprint(edge.properties),
        )
        for edge in document.relationships
    ]
    return hash((tuple(nodes), tuple(edges), tuple(_origin(document).items())))


def _node_state(node: Any) -> Hashable:
    return (node.id, text_of(node.id), str(node.type), fingerprint(node.properties))


def _document_facts(document: Any) -> Iterator[Triple]:
    # A relationship has nodes of its own, often without the properties of those in the list.
    names = {node.id: _name(node) for node in reversed(document.nodes)}
    for node in document.nodes:
        others = {k: v for k, v in node.properties.items() if k != names[node.id][0]}
        yield from node_facts(names[node.id][1], [str(node.type)], others, {})
    for edge in document.relationships:
        ends = [names.get(node.id) or _name(node) for node in (edge.source, edge.target)]
        yield from edge_facts(ends[0][1], str(edge.type), ends[1][1], edge.properties, {})


def _name(node: Any) -> tuple[str | None, str]:
    """Return what a node is called, and the property that says so."""
    return called(node.properties, ("name",)) or (None, text_of(node.id))


def _origin(document: Any) -> dict[str, str]:
    """Return which document a graph document was made of."""
    source = getattr(document, "source", None)
    metadata = getattr(source, "metadata", None)
    own: Mapping[str, Any] = metadata if isinstance(metadata, Mapping) else {}
    origin = {
        "document": getattr(source, "id", None) or own.get("id") or own.get("document_id"),
        "source": own.get("source"),
    }
    return {key: text_of(value) for key, value in origin.items() if value is not None}


def _one_or_all(values: list[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else values


def _is_document(kb: Any) -> bool:
    return isinstance(getattr(kb, "nodes", None), list) and isinstance(
        getattr(kb, "relationships", None), list
    )


def source_of(kb: Any) -> GraphDocumentSource | None:
    """Return the source of a graph document, or of a list that begins with one."""
    listed = isinstance(kb, (list, tuple)) and kb and _is_document(kb[0])
    return GraphDocumentSource(kb) if listed or _is_document(kb) else None
